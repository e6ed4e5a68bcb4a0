package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"forge.lthn.ai/core/go-ws/backplane/natsbp"
	"forge.lthn.ai/core/go-ws/backplane/natsbp/tests/natstest"
)

// certificate makes one for 127.0.0.1 that signs itself, and a file with it.
func certificate(t *testing.T) (cert tls.Certificate, file string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

func TestTLS(t *testing.T) {
	cert, authority := certificate(t)
	_, foreign := certificate(t)
	s := natstest.Start(t, server.Options{TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, TLSTimeout: natstest.Hang.Seconds()})
	p := natstest.Proxy(t, natstest.Addr(s))
	m := connected(t, natsbp.Config{URL: "tls://" + p.Addr(), Options: []nats.Option{nats.RootCAs(authority)}})
	m.join("c:x")
	p.Reset()
	m.await("Restored again", func(m *member) bool { return m.restored > 1 })
	m.publish("c:x", "end")
	m.arrives("c:x", "end")

	err := startRefused(t, natsbp.Config{URL: "tls://" + p.Addr(), Options: []nats.Option{nats.RootCAs(foreign)}})
	if err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("Start with another authority: got %v, want an error that speaks of the certificate", err)
	}
}

// A server in the program's own process needs no socket.
func TestAServerWithinTheProcess(t *testing.T) {
	s := natstest.Start(t, server.Options{DontListen: true})
	m := connected(t, natsbp.Config{Options: []nats.Option{nats.InProcessServer(s)}})
	m.join("c:x")
	m.publish("c:x", "end")
	m.arrives("c:x", "end")
	if err := m.Close(); err != nil {
		t.Errorf("Close: got %v, want nil", err)
	}
}

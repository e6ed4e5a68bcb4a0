package balancers_test

import (
	"os"
	"path/filepath"
	"testing"

	"forge.lthn.ai/core/go-ws/examples/tests/internal/child"
)

// balancer is one that the document configures.
type balancer struct {
	name     string
	language string // of its blocks
	// sticky puts the block for affinity where the document says.
	sticky func(t *testing.T, plain, affinity string) string
	// listen is the part of the block that says where it listens, and local what
	// keeps it on this machine.
	listen, local string
	start         func(t *testing.T, folder, config string) *child.Process
	timeouts      []string // those that hold for a quiet connection
}

var balancers = []balancer{
	{
		name: "nginx", language: "nginx",
		sticky: func(t *testing.T, plain, affinity string) string {
			return replaced(t, plain, section(t, plain, "upstream gateways {", "}"), affinity)
		},
		listen: "listen " + listening + ";", local: "listen 127.0.0.1:PORT;",
		start:    startNginx,
		timeouts: []string{"proxy_read_timeout", "proxy_send_timeout"},
	},
	{
		name: "haproxy", language: "haproxy",
		sticky: func(t *testing.T, plain, affinity string) string {
			return replaced(t, plain, section(t, plain, "backend gateways", ""), affinity)
		},
		listen: "bind :" + listening, local: "bind 127.0.0.1:PORT",
		start: func(t *testing.T, folder, config string) *child.Process {
			return child.Start(t, nil, "haproxy", "-db", "-f", write(t, folder, "haproxy.cfg", config))
		},
		timeouts: []string{"timeout client", "timeout server", "timeout tunnel"},
	},
	{
		name: "caddy", language: "caddyfile",
		sticky: func(t *testing.T, plain, affinity string) string {
			return replaced(t, plain, "\t\tlb_policy least_conn\n", affinity)
		},
		listen: ":" + listening + " {", local: "http://127.0.0.1:PORT {",
		start: func(t *testing.T, folder, config string) *child.Process {
			env := []string{"HOME=" + folder, "XDG_DATA_HOME=" + folder, "XDG_CONFIG_HOME=" + folder, "CADDY_ADMIN=unix/" + filepath.Join(folder, "admin.sock")}
			return child.Start(t, env, "caddy", "run", "--adapter", "caddyfile", "--config", write(t, folder, "Caddyfile", config))
		},
	},
}

// nginxFrame is what includes conf.d in an nginx.conf, without the paths that
// only root may write to.
const nginxFrame = `daemon off;
master_process off;
error_log stderr;
pid nginx.pid;
events {}
http {
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include gateways.conf;
}
`

func startNginx(t *testing.T, folder, config string) *child.Process {
	write(t, folder, "gateways.conf", config)
	return child.Start(t, nil, "nginx", "-e", "stderr", "-p", folder, "-c", write(t, folder, "nginx.conf", nginxFrame))
}

func write(t *testing.T, folder, name, text string) string {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// run starts the balancer in front of two gateways with the document's
// configuration, and returns its address.
func (b balancer) run(t *testing.T, config string, first, second *gateway) string {
	t.Helper()
	config = replaced(t, config, gateways[0], first.addr)
	config = replaced(t, config, gateways[1], second.addr)
	return child.OnFreePort(t, func(port string) (string, bool) {
		config := replaced(t, config, b.listen, replaced(t, b.local, "PORT", port))
		addr := "127.0.0.1:" + port
		return addr, b.start(t, t.TempDir(), config).Listens(addr)
	})
}

package hub_test

import (
	"log/slog"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"forge.lthn.ai/core/go-ws/hub"
	"forge.lthn.ai/core/go-ws/hub/hubtest"
)

// configWith is a Config that works but for one field.
func configWith(field string, value any) hub.Config {
	cfg := hub.Config{Transport: hubtest.NewTransport()}
	reflect.ValueOf(&cfg).Elem().FieldByName(field).Set(reflect.ValueOf(value))
	return cfg
}

func TestZeroValuesGiveTheDocumentedDefaults(t *testing.T) {
	got := reflect.ValueOf(built(t, hub.Config{Logger: slog.Default()}).Effective())
	for field, want := range map[string]any{
		"HeartbeatInterval": 30 * time.Second,
		"PongTimeout":       60 * time.Second,
		"WriteTimeout":      10 * time.Second,
		"HandshakeTimeout":  10 * time.Second,
		"BackplaneTimeout":  5 * time.Second,
		"DrainTimeout":      8 * time.Second,
		"DrainSpread":       5 * time.Second,

		"OutboxMessages":       4096,
		"OutboxBytes":          1 << 20,
		"Overflow":             hub.OverflowDisconnect,
		"MaxMessageBytes":      32_768,
		"MaxMessagesPerSecond": 100,
		"MessageBurst":         1000, // that of MaxSubscriptions, above its own 200
		"MaxSubscriptions":     1000,
		"MaxChannelLength":     255,
		"MaxClients":           100_000,
		"MaxClientsPerUser":    0,
		"MaxClientsPerAddress": 0,
		"MaxHandshakes":        10_000,
	} {
		if got := got.FieldByName(field).Interface(); got != want {
			t.Errorf("%s: got %v, want %v", field, got, want)
		}
	}
	if h, err := hub.New(hub.Config{Transport: hubtest.NewTransport()}); err != nil || h.Effective().Logger != slog.Default() {
		t.Errorf("no Logger: got %v, want slog's default", err)
	}
}

func TestValuesThatAreGivenAreKept(t *testing.T) {
	for field, value := range map[string]any{
		"HeartbeatInterval": time.Second, "PongTimeout": time.Minute, "WriteTimeout": time.Millisecond, "HandshakeTimeout": time.Hour,
		"BackplaneTimeout": time.Second, "DrainTimeout": time.Second, "DrainSpread": time.Second,
		"OutboxMessages": 1, "OutboxBytes": 1, "MaxMessageBytes": 1, "MaxMessagesPerSecond": 1, "MessageBurst": 5000,
		"MaxSubscriptions": 1, "MaxChannelLength": 510, "MaxClients": 1, "MaxClientsPerUser": 1, "MaxClientsPerAddress": 1, "MaxHandshakes": 1,
		"Overflow": hub.OverflowKeepLatest,
	} {
		h, err := hub.New(configWith(field, value))
		if err != nil {
			t.Errorf("%s %v: got %v, want it accepted", field, value, err)
			continue
		}
		if got := reflect.ValueOf(h.Effective()).FieldByName(field).Interface(); got != value {
			t.Errorf("%s: got %v, want %v", field, got, value)
		}
	}
}

func TestNegativeValuesSwitchOffWhereDocumented(t *testing.T) {
	for field, value := range map[string]any{
		"HeartbeatInterval": -time.Second, "PongTimeout": -time.Second, "DrainTimeout": -time.Second, "DrainSpread": -time.Second,
		"MaxMessagesPerSecond": -1,
	} {
		h, err := hub.New(configWith(field, value))
		if err != nil {
			t.Errorf("%s %v: got %v, want it off", field, value, err)
			continue
		}
		if got := reflect.ValueOf(h.Effective()).FieldByName(field).Interface(); got != value {
			t.Errorf("%s: got %v, want %v", field, got, value)
		}
	}
}

func TestTheBurstIsNeverBelowTheSubscriptions(t *testing.T) {
	for _, test := range []struct{ burst, subscriptions, want int }{
		{0, 0, 1000}, {0, 50, 200}, {10, 50, 50}, {60, 50, 60}, {0, 5000, 5000},
	} {
		h := built(t, hub.Config{MessageBurst: test.burst, MaxSubscriptions: test.subscriptions})
		if got := h.Effective().MessageBurst; got != test.want {
			t.Errorf("a burst of %d beside %d subscriptions: got %d, want %d", test.burst, test.subscriptions, got, test.want)
		}
	}
}

func TestWhatCanNotWorkIsRefusedByName(t *testing.T) {
	refused := []struct {
		field string
		cfg   hub.Config
	}{
		{"Transport", hub.Config{}},
		{"PongTimeout", hub.Config{HeartbeatInterval: time.Minute, PongTimeout: time.Minute}},
		{"PongTimeout", hub.Config{PongTimeout: 10 * time.Second}}, // beside the default interval
		{"PongTimeout", hub.Config{HeartbeatInterval: 2 * time.Minute}},
		{"Overflow", configWith("Overflow", hub.OverflowPolicy(-1))},
		{"Overflow", configWith("Overflow", hub.OverflowKeepLatest+1)},
		{"MaxChannelLength", configWith("MaxChannelLength", 511)},
		{"AllowedOrigins", configWith("AllowedOrigins", []string{"example.com"})},
		{"TrustedProxies", configWith("TrustedProxies", []netip.Prefix{{}})},
		{"Require", configWith("Require", []hub.Ability{hub.AbilityHistory})},
		{"Require", configWith("Require", []hub.Ability{"telepathy"})},
		{"Require", hub.Config{Backplane: hubtest.NewBroker(hubtest.BrokerConfig{}).Join(), Require: []hub.Ability{hub.AbilityHistory}}},
	}
	for _, field := range []string{"WriteTimeout", "HandshakeTimeout", "BackplaneTimeout"} {
		refused = append(refused, struct {
			field string
			cfg   hub.Config
		}{field, configWith(field, -time.Nanosecond)})
	}
	for _, field := range []string{
		"OutboxMessages", "OutboxBytes", "MaxMessageBytes", "MessageBurst", "MaxSubscriptions", "MaxChannelLength",
		"MaxClients", "MaxClientsPerUser", "MaxClientsPerAddress", "MaxHandshakes",
	} {
		refused = append(refused, struct {
			field string
			cfg   hub.Config
		}{field, configWith(field, -1)})
	}
	for _, test := range refused {
		if test.cfg.Transport == nil && test.field != "Transport" {
			test.cfg.Transport = hubtest.NewTransport()
		}
		h, err := hub.New(test.cfg)
		if err == nil || h != nil {
			t.Errorf("%s: got no error, want one that names it", test.field)
			continue
		}
		if got := err.Error(); !strings.Contains(got, "Config."+test.field+":") || strings.Count(got, "Config.") != 1 {
			t.Errorf("%s: got error %q, want it to name that field alone", test.field, got)
		}
	}
}

func TestAllThatCanNotWorkIsNamedAtOnce(t *testing.T) {
	_, err := hub.New(hub.Config{OutboxBytes: -1, MaxClients: -1, AllowedOrigins: []string{"x"}})
	for _, field := range []string{"Transport", "OutboxBytes", "MaxClients", "AllowedOrigins"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+field+":") {
			t.Errorf("got error %v, want it to name %s", err, field)
		}
	}
}

// Every number and duration of Config is in a test above, so that a new field
// can't be forgotten.
func TestEveryNumberOfConfigIsTested(t *testing.T) {
	effective := reflect.ValueOf(built(t, hub.Config{}).Effective())
	known := "HeartbeatInterval PongTimeout WriteTimeout HandshakeTimeout BackplaneTimeout DrainTimeout DrainSpread " +
		"OutboxMessages OutboxBytes Overflow MaxMessageBytes MaxMessagesPerSecond MessageBurst MaxSubscriptions " +
		"MaxChannelLength MaxClients MaxClientsPerUser MaxClientsPerAddress MaxHandshakes"
	for i := range effective.NumField() {
		field := effective.Type().Field(i)
		if field.Type.Kind() != reflect.Int && field.Type.Kind() != reflect.Int64 {
			continue
		}
		if !strings.Contains(" "+known+" ", " "+field.Name+" ") {
			t.Errorf("%s is in none of the tests of the configuration: add it to them and to this one", field.Name)
		}
	}
}

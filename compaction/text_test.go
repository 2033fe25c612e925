package compaction

import (
	"testing"
	"time"
)

// Ages and sizes are read as people write them, and nothing else.
func TestTexts(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"720h": 720 * time.Hour, "30d": 720 * time.Hour, "1.5d": 36 * time.Hour, "90s": 90 * time.Second, "0s": 0, "0d": 0,
	} {
		if got, err := ParseAge(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "5", "0", "-1h", "-1d", "d", "1y", "1e30d", "NaNd", "Infd"} {
		if got, err := ParseAge(text); err == nil {
			t.Errorf("age %q: %v", text, got)
		}
	}
	for text, want := range map[string]uint64{
		"500": 500, "512KiB": 512 << 10, "1.5GiB": 3 << 29, "2 MiB": 2 << 20, "1TiB": 1 << 40, "0": 0,
	} {
		if got, err := ParseBytes(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-1", "1GB", "KiB", "1e30", "NaN", "Inf", "99999999TiB"} {
		if got, err := ParseBytes(text); err == nil {
			t.Errorf("size %q: %v", text, got)
		}
	}
}

// A policy is made of texts; empty ones are defaults, wrong ones are named.
func TestParsePolicy(t *testing.T) {
	for _, c := range []struct {
		mode, age, bytes string
		want             Policy
		ok               bool
	}{
		{"", "", "", Policy{}, true},
		{"window", "30d", "1GiB", Policy{Window, 720 * time.Hour, 1 << 30}, true},
		{"archive", "", "", Policy{Mode: Archive}, true},
		{"some", "", "", Policy{}, false},
		{"window", "5", "", Policy{}, false},
		{"window", "0s", "", Policy{}, false},
		{"window", "", "x", Policy{}, false},
		{"window", "", "0", Policy{}, false},
	} {
		if got, err := ParsePolicy(c.mode, c.age, c.bytes); (err == nil) != c.ok || got != c.want {
			t.Errorf("%q %q %q: %+v, %v", c.mode, c.age, c.bytes, got, err)
		}
	}
}

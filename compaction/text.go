package compaction

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ParseAge reads a duration as time.ParseDuration does, or a number of days:
// 720h, 30d. It is not negative.
func ParseAge(s string) (d time.Duration, err error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(n >= 0) || n > math.MaxInt64/float64(24*time.Hour)/2 {
			return 0, fmt.Errorf("age %q: want a duration as 720h or 30d", s)
		}
		return time.Duration(n * float64(24*time.Hour)), nil
	}
	d, err = time.ParseDuration(s)
	if err != nil || d < 0 || s == "0" {
		return 0, fmt.Errorf("age %q: want a duration as 720h or 30d", s)
	}
	return d, nil
}

// ParseBytes reads a number of bytes: 500000, 512KiB, 1.5GiB.
func ParseBytes(s string) (uint64, error) {
	digits, unit := s, 1.0
	for i, suffix := range []string{"KiB", "MiB", "GiB", "TiB"} {
		if rest, ok := strings.CutSuffix(s, suffix); ok {
			digits, unit = strings.TrimSpace(rest), math.Pow(1024, float64(i+1))
		}
	}
	n, err := strconv.ParseFloat(digits, 64)
	if err != nil || !(n >= 0) || n*unit >= 1<<62 {
		return 0, fmt.Errorf("size %q: want a number of bytes, as 500000 or 512MiB or 1GiB", s)
	}
	return uint64(n * unit), nil
}

// ParsePolicy makes a policy of texts; an empty one is the default.
func ParsePolicy(mode, age, bytes string) (p Policy, err error) {
	p.Mode = Mode(mode)
	if err := p.Validate(); err != nil {
		return Policy{}, err
	}
	if age != "" {
		if p.Age, err = ParseAge(age); err != nil {
			return Policy{}, fmt.Errorf("retention: %w", err)
		}
		if p.Age == 0 {
			return Policy{}, fmt.Errorf("retention age %q: use mode %s to keep next to nothing", age, Minimal)
		}
	}
	if bytes != "" {
		if p.Bytes, err = ParseBytes(bytes); err != nil {
			return Policy{}, fmt.Errorf("retention: %w", err)
		}
		if p.Bytes == 0 {
			return Policy{}, fmt.Errorf("retention bytes %q: use mode %s to keep next to nothing", bytes, Minimal)
		}
	}
	return p, nil
}

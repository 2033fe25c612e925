package pebblestore

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// Writers pass while nothing has changed, wait while level 0 is too deep, all
// go on when it is in order again, and are refused when the store fails.
func TestThrottle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var depth, asked atomic.Int64
		var failed atomic.Pointer[error]
		th := newThrottle(
			func() int { asked.Add(1); return int(depth.Load()) },
			func() error {
				if err := failed.Load(); err != nil {
					return *err
				}
				return nil
			},
		)
		if err := th.wait(); err != nil || asked.Load() != 0 {
			t.Fatalf("before any pulse: %v, asked %d times", err, asked.Load())
		}
		const writers = 3
		done := make(chan error, writers)
		start := func() {
			for range writers {
				go func() { done <- th.wait() }()
			}
			synctest.Wait()
		}
		waits := func(when string) {
			t.Helper()
			synctest.Wait()
			if len(done) > 0 {
				t.Fatalf("%s: a writer went on: %v", when, <-done)
			}
		}
		end := func(when string, want error) {
			t.Helper()
			synctest.Wait()
			for range writers {
				if len(done) == 0 {
					t.Fatalf("%s: a writer still waits", when)
				}
				if err := <-done; !errors.Is(err, want) {
					t.Fatalf("%s: %v, want %v", when, err, want)
				}
			}
		}

		depth.Store(maxSublevels)
		th.pulse()
		start()
		waits("too deep")
		depth.Store(maxSublevels + 1)
		th.pulse()
		waits("deeper")
		depth.Store(maxSublevels - 1)
		th.pulse()
		end("in order", nil)

		depth.Store(maxSublevels)
		th.pulse()
		start()
		waits("too deep again")
		broken := errors.New("broken")
		failed.Store(&broken)
		th.pulse()
		end("failed", broken)
		start()
		end("failed before", broken)
	})
}

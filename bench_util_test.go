package rhizome_test

import "time"

func timed(f func()) float64 {
	start := time.Now()
	f()
	return time.Since(start).Seconds()
}

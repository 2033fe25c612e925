// Package stat has the few statistics of the benchmark: medians, spreads, and
// ratios pair by pair.
package stat

import "slices"

// A Spread is the median of some runs and their range.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Of returns the spread of values, nil where there are none.
func Of(values []float64) *Spread {
	if len(values) == 0 {
		return nil
	}
	sorted := slices.Sorted(slices.Values(values))
	return &Spread{Median: median(sorted), Min: sorted[0], Max: sorted[len(sorted)-1]}
}

// median wants sorted values. Between two it takes their mean.
func median(sorted []float64) float64 {
	n := len(sorted)
	if n%2 == 1 {
		return sorted[n/2]
	}
	return (sorted[n/2-1] + sorted[n/2]) / 2
}

// Ratio returns the median of a's values divided by those of b, run by run: runs
// that lie next to each other share the machine's mood, which a ratio of medians
// would not cancel. Runs that one of them lacks, and those in which b is zero, are
// passed over; it is nil where none is left.
func Ratio(a, b map[int]float64) *float64 {
	var ratios []float64
	for run, x := range a {
		if y, ok := b[run]; ok && y != 0 {
			ratios = append(ratios, x/y)
		}
	}
	if len(ratios) == 0 {
		return nil
	}
	slices.Sort(ratios)
	m := median(ratios)
	return &m
}

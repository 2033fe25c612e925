package stat_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/rhizome-p2p/rhizome/bench/internal/stat"
)

// TestOf: the median of an even number of values is the mean of the middle two,
// and of none there is no spread.
func TestOf(t *testing.T) {
	for _, tt := range []struct {
		values []float64
		want   stat.Spread
	}{
		{[]float64{3}, stat.Spread{Median: 3, Min: 3, Max: 3}},
		{[]float64{9, 1, 4}, stat.Spread{Median: 4, Min: 1, Max: 9}},
		{[]float64{9, 1, 4, 5}, stat.Spread{Median: 4.5, Min: 1, Max: 9}},
	} {
		if got := stat.Of(tt.values); got == nil || *got != tt.want {
			t.Errorf("%v: %+v, want %+v", tt.values, got, tt.want)
		}
	}
	if got := stat.Of(nil); got != nil {
		t.Errorf("of nothing: %+v", got)
	}
}

// TestRatioIsPairwise: where all runs of both sides are slower or faster
// together, the ratio does not see it, though that of the medians may.
func TestRatioIsPairwise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		moods := rapid.SliceOfN(rapid.Float64Range(0.1, 10), 1, 9).Draw(t, "moods")
		of := rapid.Float64Range(0.01, 100).Draw(t, "ratio")
		ours, theirs := make(map[int]float64), make(map[int]float64)
		for run, mood := range moods {
			ours[run], theirs[run] = of*mood, mood
		}
		got := stat.Ratio(ours, theirs)
		if got == nil || *got < of*0.999999 || *got > of*1.000001 {
			t.Fatalf("ratio %v, want %v", got, of)
		}
	})
}

// TestRatioOfPairs: it is the median of the ratios, not the ratio of the medians,
// and only of runs that both have.
func TestRatioOfPairs(t *testing.T) {
	ours := map[int]float64{0: 1, 1: 10, 2: 100, 3: 7}
	theirs := map[int]float64{0: 1, 1: 1, 2: 50, 4: 9} // ratios 1, 10, 2; medians 8.5 and 5
	if got := stat.Ratio(ours, theirs); got == nil || *got != 2 {
		t.Errorf("ratio %v, want 2", got)
	}
	if got := stat.Ratio(ours, map[int]float64{0: 0, 5: 1}); got != nil {
		t.Errorf("ratio of nothing: %v", *got)
	}
}

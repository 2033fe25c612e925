//go:build race

package rhizome

// historyUsual is how many operations are recorded where no flag says so: the
// race detector makes nodes ten times as slow.
const historyUsual = 5_000

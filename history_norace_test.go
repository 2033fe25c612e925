//go:build !race

package rhizome

// historyUsual is how many operations are recorded where no flag says so.
const historyUsual = 30_000

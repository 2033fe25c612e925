//go:build race

package simnet_test

// raceEnabled says that the race detector is on, which costs time tenfold.
const raceEnabled = true

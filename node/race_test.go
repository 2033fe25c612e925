//go:build race

package node

// raceEnabled says that the race detector is on, which costs time tenfold.
const raceEnabled = true

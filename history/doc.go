// Package history judges what clients of a replicated store have seen: whether
// a recorded history is causally consistent, and keeps the guarantees of
// sessions. It knows nothing of the store, only what went in and what came out.
//
// # Histories
//
// A history is a list of operations on registers: writes, each of a value that
// no other write of its key writes, and reads. An operation belongs to a session,
// which is one client that calls one operation after the other; the operations
// of a session stand in the list in the order in which it called them. How those
// of different sessions are mixed means nothing. Read and Write have the form in
// JSON Lines.
//
// A read is lossy, and returns one value or none; or it is lossless, and returns
// a set of values, the siblings. A lossless read may also say which of them a
// lossy one would have shown.
//
// A write whose outcome is unknown either took effect before its session went on,
// or never does; where somebody has read its value it did. One that nobody has
// read is left out: if a history is consistent with it, then also without. A call
// that may take effect later, when its session has gone on, has to be recorded as
// a session of its own.
//
// # Causal consistency
//
// The definitions and their bad patterns are those of Bouajjani, Enea, Guerraoui
// and Hamza, "On Verifying Causal Consistency" (POPL 2017). The causal order co
// begins as the transitive closure of session order and reads-from: it is in
// section 5 that a history is consistent if and only if none of these patterns is
// in it.
//
//	CC   CyclicCO         co has a cycle
//	     ThinAirRead      a read returns a value that nobody wrote
//	     WriteCOInitRead  a read returns nothing, and a write of its key is before it
//	     WriteCORead      a read returns a value, and a write of its key is before
//	                      the read and after the value's
//	CCv  CyclicCF         co and the conflict order have a cycle. A write is before
//	                      another of its key in conflict order if it is before a read
//	                      that returns the other
//	CM   CyclicHB         the happened-before of some operation has a cycle. It holds
//	                      what co has of that operation's past, and a write before
//	                      another where the session, up to the operation, has read the
//	                      other, and the write happened before that read
//	     WriteHBInitRead  a session reads nothing, and a write of the key happened
//	                      before
//
// # Reads that return siblings
//
// The patterns are of reads that return one value. For a lossless read the
// definition is that of a multi-value register (Burckhardt, Gotsman, Yang and
// Zawirski, "Replicated Data Types: Specification, Verification, Optimality",
// POPL 2014): there is a causal order, a partial order that holds at
// least session order and reads-from, in which
//
//   - every lossless read returns the values of exactly those writes of its key
//     before it that no other write of the key before it is after;
//   - every lossy read returns the value of one of those, and nothing where there
//     are none.
//
// So each returned value was written (else ThinAirRead), none is overwritten in
// the reader's past (WriteCORead), and none is missing that is not. That a write w
// is missing means that one of the returned values has overwritten it, w before s
// in every such order, whether or not the clients can see why. Check adds w → s
// to co where there is one such s, and goes on until nothing is added. Two patterns
// come from that:
//
//	CC   LostSibling      a write before a read is neither returned nor may any
//	                      returned value have overwritten it: some read has
//	                      returned the two side by side, or no choice of what has
//	                      overwritten what gives an order
//	     CyclicOW         co with what must have been overwritten has a cycle
//
// Where several returned values may have overwritten w, Check seeks a choice by
// which no pattern shows, within bounds. Report.Proven says whether it found one.
// It calls nothing a violation that some choice would explain; so in a large
// history with many siblings it may miss one, and in any other it misses none.
//
// CCv judges by the order that holds of every choice. CM is defined of what reads
// returned one after the other, and of lossless ones takes only what they say
// of co.
//
// # Guarantees of sessions
//
// They are those of Terry, Demers, Petersen, Spreitzer, Theimer and Welch,
// "Session Guarantees for Weakly Consistent Replicated Data" (PDIS 1994), section
// 3. Each says of some writes that they are in the database that a read goes to:
//
//	ReadYourWrites      those that the session made before
//	MonotonicReads      those that the session's reads have returned before
//	MonotonicWrites     those that came before, in its session, a write which the
//	                    session has read
//	WritesFollowReads   those that another session had read before it made a write
//	                    which the session has read
//
// "Has read" includes the read itself. One is broken where such a write shows by
// its absence: a bad pattern of CC with that write.
//
// # Concurrency
//
// All is pure: functions of their arguments, safe from any number of goroutines.
package history

// Package plugin makes resolvers of data: CEL expressions and WebAssembly
// modules, which a schema carries to every node.
//
// Whoever may write a schema may write a plugin, so a plugin is taken to be
// hostile. It sees its input and nothing else: no clock, no randomness, no files,
// no network, no other property than those that it depends on. It is stopped
// where it takes too much, and all that goes wrong in it is a
// merge.PropertyError of its property:
//
//	merge.ErrorCost     more steps than Limits.Cost, or instructions than Limits.Instructions
//	merge.ErrorMemory   a value or a memory larger than allowed; a stack overflow
//	merge.ErrorTime     a module that took longer than Limits.CallTime
//	merge.ErrorFailed   an error of the expression, a trap of the module, or what either says itself
//	merge.ErrorOutput   a result that is no value, or is not where the module says
//
// # Determinism
//
// The same plugin, input and limits give the same output and the same kind of
// error on every node. That covers the order of maps, the order of equal
// elements in sorted lists, and where a plugin is stopped: costs are counted,
// not measured. Not covered are
//
//   - Limits.CallTime, a second net that depends on the host. It is wide enough
//     that Limits.Instructions stop a module first;
//   - the bits of a NaN, which WebAssembly leaves to the processor. A result
//     cannot be NaN, but a module can look at the bits of one;
//   - versions: a price, a limit or a rule of a library that changes with a
//     release changes what is stopped, for those who upgrade.
//
// # Expressions
//
// An expression of the Common Expression Language (https://cel.dev) sees
//
//	survivors   list of {value, verb, time, creator, author, dot}, the newest first
//	values      list: those of the survivors; of an inc the lane's total
//	deps        map: the resolved values of the dependencies, by id
//	entity      string
//	path        string
//
// where time is in milliseconds since 1970 and verb, creator, author and dot are
// strings. A float64 is a double, an int64 an int, a reference a map with the one
// key "$ref".
//
// Its result is the value: null, bool, int, uint up to int64, double, string,
// bytes, a list, or a map with string keys. Two functions end the evaluation
// where they are called, as errors of CEL do: absent() says that the property
// has no value, fail(text) that the resolver has an error. As with all errors,
// || and && drop them where the other side decides.
//
// There are the operators and macros of CEL (all, exists, exists_one, filter,
// map, has), cel.bind, the macros of two variables (transformList, transformMap,
// transformMapEntry), and of the extensions of the library those that are in the
// table offered: on strings, lists, sets and numbers. The key of a map literal is
// a literal, or string(…), int(…), uint(…) or bool(…). A map is walked in the
// order of its keys: false, true, numbers, strings by their bytes.
//
// # Prices
//
// Each node of an expression costs a step each time it is evaluated, and so does
// each element of a list or map literal. A call costs besides what it will do,
// which is known before it begins: a step for ten bytes of text that it reads or
// writes, for each element that it makes, and for each comparison of elements.
// See price.
//
// # Modules
//
// A module is WebAssembly 2.0 without vectors and without any import. It exports
//
//	memory
//	alloc(i32) -> i32           room for so many bytes, at the returned place
//	resolve(i32, i32) -> i64    from place and length of the input to those of
//	                            the output: place << 32 | length
//
// Input and output are JSON as package delta has it, byte strings being
// {"$bytes": BASE64}. The input has no spaces, its members stand in this order,
// and the keys of other objects rise:
//
//	{"entity":"…","path":"…","survivors":[
//	  {"value":…,"verb":"…","time":0,"creator":"…","author":"…","dot":"…"}],"deps":{}}
//
// The output is one of
//
//	{"value": X}    {"absent": true}    {"error": "text"}
//
// and may have a member "why", a string. Each call has an instance of its own, so
// nothing carries over. A module is rewritten before it is compiled, so that it
// counts what it executes; see meter. What a call may execute, and the memory
// that it may grow to, are capped; it is interpreted, with at most 2,000 calls
// on its stack.
//
// testdata/median.wat is a module that does something useful.
//
// # Concurrency
//
// Resolvers and a Runtime may be used from any number of goroutines. As many
// calls of a Runtime's modules run at a time as there are processors, the others
// wait. No goroutine outlives a call.
package plugin

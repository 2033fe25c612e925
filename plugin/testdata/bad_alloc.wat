;; Its alloc returns a place outside of the memory.
(module
  (memory (export "memory") 17)
  (func (export "alloc") (param i32) (result i32) (i32.const -16))
  (func (export "resolve") (param i32 i32) (result i64) (i64.const 0))
)

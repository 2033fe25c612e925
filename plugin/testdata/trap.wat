;; It divides by zero.
(module
  (memory (export "memory") 17)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64) (i64.div_s (i64.const 1) (i64.const 0)))
)

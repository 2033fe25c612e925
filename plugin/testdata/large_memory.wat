;; It wants 32 MiB from the start.
(module
  (memory (export "memory") 512)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64) (i64.const 0)))

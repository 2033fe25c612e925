;; Its table has no maximum, so that it might grow past all bounds.
(module
  (memory (export "memory") 1)
  (table 1 funcref)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64) (i64.const 0)))

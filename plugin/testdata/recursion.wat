;; It calls itself without end.
(module
  (memory (export "memory") 17)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func $down (param i64 i64 i64 i64) (call $down (local.get 0) (local.get 1) (local.get 2) (local.get 3)))
  (func (export "resolve") (param i32 i32) (result i64)
    (call $down (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)) (i64.const 0))
)

;; It calls itself twice, 1,000 deep: without a loop it would take 2^1000 calls.
(module
  (memory (export "memory") 17)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func $both (param $n i32)
    (if (local.get $n) (then
      (call $both (i32.sub (local.get $n) (i32.const 1)))
      (call $both (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "resolve") (param i32 i32) (result i64) (call $both (i32.const 1000)) (i64.const 0))
)

;; It counts its calls in a global and in its memory, and returns the digit of their sum.
(module
  (memory (export "memory") 17)
  (global $calls (mut i32) (i32.const 0))
  (data (i32.const 16) "{\22value\22:0}")
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64)
    (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
    (i32.store (i32.const 64) (i32.add (i32.load (i32.const 64)) (i32.const 1)))
    (i32.store8 (i32.const 25) (i32.add (i32.const 48) (i32.add (global.get $calls) (i32.load (i32.const 64)))))
    (i64.const 0x100000000b))
)

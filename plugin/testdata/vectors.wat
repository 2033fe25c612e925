;; It uses vectors.
(module
  (memory (export "memory") 1)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64) (i64x2.extract_lane 0 (v128.const i64x2 1 2))))

;; It doubles its memory until that is refused, and then gives up.
(module
  (memory (export "memory") 17)
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64)
    (loop $again (br_if $again (i32.ne (memory.grow (memory.size)) (i32.const -1))))
    unreachable)
)

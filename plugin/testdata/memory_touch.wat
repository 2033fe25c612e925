;; It grows page by page, writes to each, and then reports what it got.
(module
  (memory (export "memory") 17)
  (data (i32.const 16) "{\22value\22:\22enough\22}")
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "resolve") (param i32 i32) (result i64)
    (local $page i32)
    (block $done
      (loop $again
        (local.set $page (memory.grow (i32.const 1)))
        (br_if $done (i32.eq (local.get $page) (i32.const -1)))
        (memory.fill (i32.shl (local.get $page) (i32.const 16)) (i32.const 255) (i32.const 65536))
        (br $again)))
    (i64.const 0x1000000012))
)

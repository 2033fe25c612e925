;; It uses instructions of every form, of the longer ones each, and adds up
;; what they should leave behind: {"value":53}.
(module
  (type $unary (func (param i32) (result i32)))
  (memory (export "memory") 2 4)
  (table $t 4 8 funcref)
  (table $u 2 8 funcref)
  (global $sum (mut i64) (i64.const 0))
  (global $g i32 (i32.const 7))
  (elem declare func $double $start)
  (elem $late funcref (ref.func $double) (ref.null func))
  (data (i32.const 16) "{\22value\22:00}")
  (data $late "abcd")
  (func $start (global.set $sum (i64.add (global.get $sum) (i64.const 1)))) ;; 1
  (start $start)
  (func $double (type $unary) (i32.mul (local.get 0) (i32.const 2)))
  (func $two (result i32 i32) (i32.const 3) (i32.const 4))
  (func $plus (param $n i32) (global.set $sum (i64.add (global.get $sum) (i64.extend_i32_s (local.get $n)))))
  (func (export "alloc") (param i32) (result i32) (i32.const 65536))
  (func (export "resolve") (param i32 i32) (result i64)
    (local $i i32) (local $f f64) (local $r funcref)
    (call $plus (i32.add (call $two))) ;; 8
    (memory.init $late (i32.const 1024) (i32.const 0) (i32.const 4))
    (data.drop $late)
    (memory.copy (i32.const 2048) (i32.const 1024) (i32.const 4))
    (memory.fill (i32.const 2050) (i32.const 1) (i32.const 1))
    (call $plus (i32.load8_u (i32.const 2050))) ;; 9
    (call $plus (i32.sub (i32.load8_u offset=3 (i32.const 2048)) (i32.const 99))) ;; 10
    (table.init $t $late (i32.const 0) (i32.const 0) (i32.const 2))
    (elem.drop $late)
    (table.copy $u $t (i32.const 0) (i32.const 0) (i32.const 2))
    (call $plus (call_indirect $t (type $unary) (i32.const 2) (i32.const 0))) ;; 14
    (call $plus (call_indirect $u (type $unary) (i32.const 3) (i32.const 0))) ;; 20
    (table.set $t (i32.const 3) (ref.func $double))
    (local.set $r (table.get $t (i32.const 3)))
    (call $plus (i32.eqz (ref.is_null (local.get $r)))) ;; 21
    (call $plus (table.grow $t (ref.null func) (i32.const 2))) ;; 25
    (table.fill $t (i32.const 4) (local.get $r) (i32.const 2))
    (call $plus (table.size $t)) ;; 31
    (call $plus (i32.trunc_sat_f64_s (f64.const 1e30))) ;; 31 and 2^31 - 1
    (call $plus (i32.sub (i32.const 1) (i32.const 2147483647))) ;; 32
    (local.set $f (f64.add (f64.const 1.5) (f64.promote_f32 (f32.const 0.5))))
    (call $plus (i32.trunc_f64_s (local.get $f))) ;; 34
    (call $plus (select (result i32) (i32.const 5) (i32.const 6) (i32.const 1))) ;; 39
    (call $plus (select (i32.const 1) (i32.const 2) (i32.const 0))) ;; 41
    (call $plus (memory.grow (i32.const 1))) ;; 43
    (call $plus (i32.eq (memory.size) (i32.const 3))) ;; 44
    (call $plus (i32.eq (memory.grow (i32.const 100)) (i32.const -1))) ;; 45
    (call $plus (i32.eq (memory.grow (i32.const -1)) (i32.const -1))) ;; 46
    (call $plus (global.get $g)) ;; 53
    (block $out (block $in (br_table $in $out $in (i32.const 1))) (unreachable))
    (loop $again
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (if (i32.lt_s (local.get $i) (i32.const 3)) (then (br $again)) (else (nop))))
    (drop (i64.extend8_s (i64.const 128)))
    (i64.store (i32.const 3000) (global.get $sum))
    (i32.store8 (i32.const 25) (i32.add (i32.const 48) (i32.div_u (i32.load (i32.const 3000)) (i32.const 10))))
    (i32.store8 (i32.const 26) (i32.add (i32.const 48) (i32.rem_u (i32.load (i32.const 3000)) (i32.const 10))))
    (return (i64.const 0x100000000c))))

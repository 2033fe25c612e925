;; The median of the survivors' values, which are integers; of an even number
;; the lower of the two in the middle. Without survivors there is no value.
;;
;; It looks for "value": at the depth of a survivor's members, in the text that
;; the host writes without spaces, and knows strings so far as to skip them.
(module
  (memory (export "memory") 2)
  (data (i32.const 0) "{\"absent\":true}")
  (data (i32.const 32) "{\"error\":\"a value is not an integer\"}")
  (data (i32.const 96) "\"value\":")
  (data (i32.const 128) "{\"why\":\"median\",\"value\":")

  ;; Below 4096 constants, from 4096 to 65536 the output, from there the input.
  (func (export "alloc") (param $n i32) (result i32)
    (local $short i32)
    (local.set $short (i32.sub
      (i32.shr_u (i32.add (local.get $n) (i32.const 131071)) (i32.const 16))
      (memory.size)))
    (if (i32.gt_s (local.get $short) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $short)) (i32.const -1)) (then unreachable))))
    (i32.const 65536))

  (func $pack (param $ptr i32) (param $len i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $ptr)) (i64.const 32))
            (i64.extend_i32_u (local.get $len))))

  ;; starts says whether the text at $p starts with "value":.
  (func $starts (param $p i32) (result i32)
    (i64.eq (i64.load align=1 (local.get $p)) (i64.load (i32.const 96))))

  ;; string returns the place after the string that starts at $p.
  (func $string (param $p i32) (result i32)
    (local $c i32)
    (loop $next
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (local.set $c (i32.load8_u (local.get $p)))
      (if (i32.eq (local.get $c) (i32.const 92)) ;; a backslash
        (then (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $next)))
      (br_if $next (i32.ne (local.get $c) (i32.const 34))))
    (i32.add (local.get $p) (i32.const 1)))

  ;; The numbers are kept behind the input, 8 bytes each, in rising order.
  (func $insert (param $at i32) (param $n i32) (param $x i64)
    (local $p i32)
    (local.set $p (i32.add (local.get $at) (i32.shl (local.get $n) (i32.const 3))))
    (block $done
      (loop $down
        (br_if $done (i32.eq (local.get $p) (local.get $at)))
        (br_if $done (i64.le_s (i64.load (i32.sub (local.get $p) (i32.const 8))) (local.get $x)))
        (i64.store (local.get $p) (i64.load (i32.sub (local.get $p) (i32.const 8))))
        (local.set $p (i32.sub (local.get $p) (i32.const 8)))
        (br $down)))
    (i64.store (local.get $p) (local.get $x)))

  (func $room (param $end i32)
    (local $short i32)
    (local.set $short (i32.sub
      (i32.shr_u (i32.add (local.get $end) (i32.const 65535)) (i32.const 16))
      (memory.size)))
    (if (i32.gt_s (local.get $short) (i32.const 0))
      (then (if (i32.eq (memory.grow (local.get $short)) (i32.const -1)) (then unreachable)))))

  ;; print writes $x in decimal behind the start of the output, and returns
  ;; the length of all of it.
  (func $print (param $x i64) (result i32)
    (local $p i32) (local $n i32) (local $u i64)
    (local.set $p (i32.const 8192)) ;; digits are written downwards from here
    (local.set $u (local.get $x))
    (if (i64.lt_s (local.get $x) (i64.const 0)) (then (local.set $u (i64.sub (i64.const 0) (local.get $x)))))
    (loop $digit
      (local.set $p (i32.sub (local.get $p) (i32.const 1)))
      (i32.store8 (local.get $p) (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $u) (i64.const 10)))))
      (local.set $u (i64.div_u (local.get $u) (i64.const 10)))
      (br_if $digit (i64.ne (local.get $u) (i64.const 0))))
    (if (i64.lt_s (local.get $x) (i64.const 0)) (then
      (local.set $p (i32.sub (local.get $p) (i32.const 1)))
      (i32.store8 (local.get $p) (i32.const 45))))
    (local.set $n (i32.const 0))
    (loop $head ;; 24 bytes: {"why":"median","value":
      (i32.store8 (i32.add (i32.const 4096) (local.get $n)) (i32.load8_u (i32.add (i32.const 128) (local.get $n))))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $head (i32.lt_u (local.get $n) (i32.const 24))))
    (loop $tail
      (i32.store8 (i32.add (i32.const 4096) (local.get $n)) (i32.load8_u (local.get $p)))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (local.set $p (i32.add (local.get $p) (i32.const 1)))
      (br_if $tail (i32.lt_u (local.get $p) (i32.const 8192))))
    (i32.store8 (i32.add (i32.const 4096) (local.get $n)) (i32.const 125))
    (i32.add (local.get $n) (i32.const 1)))

  (func (export "resolve") (param $p i32) (param $len i32) (result i64)
    (local $end i32) (local $numbers i32) (local $n i32) (local $depth i32)
    (local $c i32) (local $x i64) (local $minus i32)
    (local.set $end (i32.add (local.get $p) (local.get $len)))
    (local.set $numbers (i32.and (i32.add (local.get $end) (i32.const 7)) (i32.const -8)))
    (block $done
      (loop $next
        (br_if $done (i32.ge_u (local.get $p) (local.get $end)))
        (local.set $c (i32.load8_u (local.get $p)))
        ;; { and [ lead down, } and ] up
        (if (i32.or (i32.eq (local.get $c) (i32.const 123)) (i32.eq (local.get $c) (i32.const 91)))
          (then (local.set $depth (i32.add (local.get $depth) (i32.const 1)))))
        (if (i32.or (i32.eq (local.get $c) (i32.const 125)) (i32.eq (local.get $c) (i32.const 93)))
          (then
            (local.set $depth (i32.sub (local.get $depth) (i32.const 1)))
            ;; the end of the survivors
            (br_if $done (i32.and (i32.eq (local.get $depth) (i32.const 1)) (i32.eq (local.get $c) (i32.const 93))))))
        (if (i32.ne (local.get $c) (i32.const 34))
          (then (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $next)))
        (if (i32.eqz (i32.and (i32.eq (local.get $depth) (i32.const 3)) (call $starts (local.get $p))))
          (then (local.set $p (call $string (local.get $p))) (br $next)))
        ;; a value: digits, perhaps after a minus, up to the comma
        (local.set $p (i32.add (local.get $p) (i32.const 8)))
        (local.set $x (i64.const 0))
        (local.set $minus (i32.eq (i32.load8_u (local.get $p)) (i32.const 45)))
        (local.set $p (i32.add (local.get $p) (local.get $minus)))
        (loop $digit
          (local.set $c (i32.sub (i32.load8_u (local.get $p)) (i32.const 48)))
          (if (i32.gt_u (local.get $c) (i32.const 9))
            (then (return (call $pack (i32.const 32) (i32.const 37)))))
          (local.set $x (i64.add (i64.mul (local.get $x) (i64.const 10)) (i64.extend_i32_u (local.get $c))))
          (local.set $p (i32.add (local.get $p) (i32.const 1)))
          (br_if $digit (i32.ne (i32.load8_u (local.get $p)) (i32.const 44))))
        (if (local.get $minus) (then (local.set $x (i64.sub (i64.const 0) (local.get $x)))))
        (call $room (i32.add (local.get $numbers) (i32.shl (i32.add (local.get $n) (i32.const 1)) (i32.const 3))))
        (call $insert (local.get $numbers) (local.get $n) (local.get $x))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next)))
    (if (i32.eqz (local.get $n)) (then (return (call $pack (i32.const 0) (i32.const 15)))))
    (call $pack (i32.const 4096) (call $print (i64.load (i32.add (local.get $numbers)
      (i32.shl (i32.shr_u (i32.sub (local.get $n) (i32.const 1)) (i32.const 1)) (i32.const 3)))))))
)

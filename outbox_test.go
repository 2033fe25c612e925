package rhizome

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rhizome-p2p/rhizome/gossip"
)

// What comes after a pause goes out at once, what follows goes together when the
// linger is over, all in order; what fills a message does not wait.
func TestOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var got string
		o := outbox{send: func(messages [][]byte) {
			got += fmt.Sprintf("%d:", time.Since(start).Milliseconds())
			for _, m := range messages {
				got += string(m[:1])
			}
			got += " "
		}}
		put := func(text string) { o.put([]byte(text), 10*time.Millisecond) }
		want := func(want string) {
			t.Helper()
			synctest.Wait()
			if got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
			got = ""
		}
		put("a")
		want("0:a ")
		put("b")
		<-time.After(time.Millisecond)
		put("c")
		want("")
		<-time.After(9 * time.Millisecond)
		want("10:bc ")
		<-time.After(20 * time.Millisecond)
		want("")
		put("d")
		put("e")
		want("30:d ")
		full := bytes.Repeat([]byte("f"), gossip.MaxPublishBytes)
		o.put(full, 10*time.Millisecond)
		want("30:e ")
		o.put([]byte("g"), 0)
		want("30:f 30:g ")
		put("h")
		o.drain()
		want("30:h ")
		<-time.After(time.Second)
		want("")
	})
	if linger(2) != 0 || linger(3) == 0 || linger(1000) != lingerMost {
		t.Error("linger")
	}
}

package node

import (
	"testing"
)

// A status tells what is held, what a compaction would drop and what it did.
func TestStorageStatus(t *testing.T) {
	b := newBench(t)
	status := func() StorageStatus {
		t.Helper()
		var s Status
		if err := b.Fill(t.Context(), &s, false); err != nil {
			t.Fatal(err)
		}
		return s.Storage
	}
	if s := status(); s.RawBytes+s.LiveBytes+s.ReclaimableBytes+s.GrowthPerDay+s.Floor+s.Checkpoints > 0 || s.History != "" || !s.Past.IsZero() {
		t.Errorf("empty: %+v", s)
	}
	for i := range 50 {
		b.put("k", "/n", int64(i))
	}
	s := status()
	if s.RawBytes == 0 || s.ReclaimableBytes != s.RawBytes || s.GrowthPerDay != 24*s.RawBytes || s.LiveBytes == 0 || s.LiveBytes > 200 || s.Retention.Mode == "" {
		t.Errorf("full: %+v", s)
	}
	b.compact(CompactOptions{})
	s = status()
	if s.RawBytes+s.ReclaimableBytes > 0 || s.Floor != 50 || s.History != b.Cursor() || s.Past.IsZero() || s.Checkpoints != 1 || s.LiveBytes == 0 {
		t.Errorf("compacted: %+v", s)
	}
	b.KnowPeers()
	b.put("k", "/n", int64(1))
	if s := status(); s.ReclaimableBytes != 0 || s.RawBytes == 0 {
		t.Errorf("with peers that hold nothing: %+v", s)
	}
}

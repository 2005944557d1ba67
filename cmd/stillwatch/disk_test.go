package main

import "testing"

func TestRoomOnTheDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := roomIn(dir, 1); err != nil {
		t.Errorf("a byte: %v", err)
	}
	if roomIn(dir, 1<<62) == nil {
		t.Error("every disk has room for 4 EiB")
	}
	if roomIn(dir+"/none", 1) == nil {
		t.Error("a folder that is not there has room")
	}
}

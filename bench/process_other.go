//go:build !linux

package main

import "syscall"

// attributes put a process into a group of its own: a script and what it starts are killed as one, and a Ctrl-C for the
// bench is not theirs.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

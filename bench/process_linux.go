package main

import "syscall"

// attributes put a process into a group of its own: a script and what it starts are killed as one, and a Ctrl-C for the
// bench is not theirs. Should the bench itself be killed, so are they.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

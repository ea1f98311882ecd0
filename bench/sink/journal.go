package sink

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
)

// The signal of a request in the journal.
const (
	kindTraces byte = 't'
	kindLogs   byte = 'l'
)

// Journal keeps what a sink received beyond the death of its process, as a backend's disk would. The operating system
// has a request before it is confirmed; it is not made to survive that, too. It is safe for concurrent use.
type Journal struct {
	mu   sync.Mutex
	file *os.File
}

// OpenJournal opens or creates the file, and lets the sink note what is in it. A request that was cut short by the death
// of the process had not been confirmed and is cut off.
func (s *Sink) OpenJournal(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	end, err := s.replay(bufio.NewReaderSize(file, 1<<20))
	if err == nil {
		err = file.Truncate(end)
	}
	if err == nil {
		_, err = file.Seek(end, io.SeekStart)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("journal %s: %w", path, err), file.Close())
	}
	s.Journal = &Journal{file: file}
	return nil
}

// replay returns where the last whole request ends.
func (s *Sink) replay(r io.Reader) (end int64, err error) {
	var head [5]byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return end, atEnd(err)
		}
		request := make([]byte, binary.LittleEndian.Uint32(head[1:]))
		if _, err := io.ReadFull(r, request); err != nil {
			return end, atEnd(err)
		}
		if err := s.add(head[0], request); err != nil {
			return end, err
		}
		end += int64(len(head) + len(request))
	}
}

func atEnd(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// append writes one request in one call, so that only the last can be cut short.
func (j *Journal) append(kind byte, request []byte) error {
	record := append(binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(request))), request...)
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := j.file.Write(record); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

package access

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
)

// watched is a file that is read again and again, and acted on when it changed. Its
// bytes are compared, not its time, which two quick writes may share: these
// files are small, and read once a second at most.
type watched struct {
	path  string
	taken []byte // what was acted on last; nil: that there is no file
	once  bool   // something was acted on
}

// read is the file's text, nil when there is none, and whether it is another than
// what was acted on last. A file without a path is one that there is not.
func (w *watched) read() (text []byte, changed bool, err error) {
	if w.path != "" {
		text, err = os.ReadFile(w.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	if err == nil && text == nil && w.path != "" {
		text = []byte{}
	}
	return text, !w.once || (text == nil) != (w.taken == nil) || !bytes.Equal(text, w.taken), nil
}

// take notes what was acted on.
func (w *watched) take(text []byte) { w.taken, w.once = text, true }

package options

import (
	"fmt"
	"os"
	"strings"
)

// Secret returns a secret that is given as such or as the name of a file that holds it; a newline at the file's end is not
// part of it. Without either it is empty.
func Secret(value, file string) (string, error) {
	if file == "" {
		return value, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("a secret: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

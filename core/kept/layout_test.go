package kept

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestLayout compares the members of the file with those that its version stands for. Where they differ, the version is to be raised: a
// program of the former one must not read the file, nor this one a file of that.
func TestLayout(t *testing.T) {
	var b strings.Builder
	fmt.Fprintf(&b, "version %d\n", versions().File)
	describe(&b, "head", reflect.TypeFor[Head]())
	describe(&b, "names", reflect.TypeFor[Names]())
	describe(&b, "tail", reflect.TypeFor[Tail]())
	const path = "testdata/layout.txt"
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := b.String(); got != string(want) {
		t.Errorf("the layout has changed: raise Versions.File, and write this to %s:\n%s", path, got)
	}
}

// describe writes a line for each member of a type, and of those in it.
func describe(b *strings.Builder, path string, of reflect.Type) {
	switch of.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		describe(b, path+"[]", of.Elem())
	case reflect.Map:
		describe(b, path+"["+of.Key().String()+"]", of.Elem())
	case reflect.Struct:
		for f := range of.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name == "" {
				name = f.Name
			}
			if f.IsExported() {
				describe(b, path+"."+name, f.Type)
			}
		}
	default:
		fmt.Fprintf(b, "%s %s\n", path, of.Kind())
	}
}

package top

import (
	"context"
	"io"

	tea "charm.land/bubbletea/v2"

	"github.com/rtflow/pipelined/core/control"
)

// Options are what the screen is put on a terminal with.
type Options struct {
	At     string // where the daemon is asked
	Colour bool
	Input  io.Reader
	Output io.Writer
	// Frames calls got with every frame, and trouble with why there are none, until ctx ends.
	Frames func(ctx context.Context, got func(*control.Frame), trouble func(error))
	// Explain says what a configuration makes of the packet that a line of a log tells of. It may take its time.
	Explain func(ctx context.Context, line string) (string, error)
}

// Run shows the screen until the user leaves it, or ctx ends, of which it returns the error.
func Run(ctx context.Context, o Options) error {
	p := &program{Options: o, model: New(o.At, o.Colour)}
	asking, stop := context.WithCancel(ctx)
	p.ctx = asking
	screen := tea.NewProgram(p, tea.WithContext(ctx), tea.WithInput(o.Input), tea.WithOutput(o.Output), tea.WithoutSignalHandler())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		o.Frames(asking, func(f *control.Frame) { screen.Send(f) }, func(err error) { screen.Send(trouble{err}) })
	}()
	_, err := screen.Run()
	stop()
	<-asked
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// program puts a model on a terminal.
type program struct {
	Options

	ctx   context.Context // of what is asked meanwhile
	model *Model
}

var _ tea.Model = (*program)(nil)

type (
	trouble   struct{ error }
	explained struct {
		text string
		err  error
	}
)

// Init implements [tea.Model].
func (*program) Init() tea.Cmd { return nil }

// Update implements [tea.Model].
func (p *program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		p.model.Resize(msg.Width, msg.Height)
	case tea.KeyPressMsg:
		if p.model.Key(msg.String()) {
			return p, tea.Quit
		}
	case *control.Frame:
		if err := p.model.Frame(msg); err != nil {
			p.model.Trouble("what answers is no pipelined: " + err.Error())
		}
	case trouble:
		p.model.Trouble(msg.Error())
	case explained:
		if msg.err != nil {
			msg.text += "\n" + msg.err.Error()
		}
		p.model.Show(msg.text)
	}
	return p, p.explain()
}

// explain begins an explanation that the user wants.
func (p *program) explain() tea.Cmd {
	line := p.model.Wanted()
	if line == "" {
		return nil
	}
	p.model.Show("reading the configuration …")
	return func() tea.Msg {
		text, err := p.Explain(p.ctx, line)
		return explained{text, err}
	}
}

// View implements [tea.Model].
func (p *program) View() tea.View {
	v := tea.NewView(p.model.View())
	v.AltScreen = true
	return v
}

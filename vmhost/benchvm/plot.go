package main

import (
	"fmt"
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// bars are the subjects of the plot, each with its name and colour. What a caller
// waits for a restored VM, with the wire, stands beside what the VM takes.
var bars = []struct {
	label, subject string
	outer          bool
	color          color.RGBA
}{
	{"ours, restored: in the cell", oursRestored, false, color.RGBA{0x1b, 0x6c, 0xa8, 0xff}},
	{"ours, restored: with the wire", oursRestored, true, color.RGBA{0x7f, 0xb5, 0xd9, 0xff}},
	{"ours, new instance: in the cell", oursNew, false, color.RGBA{0x5e, 0x4f, 0x8c, 0xff}},
	{"wasmtime, new store", wasmtimeEpochs, true, color.RGBA{0x8a, 0x8a, 0x8a, 0xff}},
	{"wazero, new instance", plainWazero, true, color.RGBA{0xe0, 0x9f, 0x3e, 0xff}},
	{"Extism, new instance", extismSDK, true, color.RGBA{0xb2, 0x3a, 0x48, 0xff}},
}

// draw writes the median time of a call by language and subject as bars on a
// logarithmic scale.
func draw(rows []row, file string) error {
	p := plot.New()
	p.Title.Text = "Median time of one call with fresh state, one caller"
	p.Title.TextStyle.Font.Size = vg.Points(14)
	p.Title.Padding = vg.Points(8)
	p.Y.Label.Text = "microseconds, logarithmic"
	p.Y.Scale = plot.LogScale{}
	p.Y.Tick.Marker = plot.LogTicks{Prec: -1}
	p.Y.Min = 1
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.YOffs = vg.Points(-4)
	grid := plotter.NewGrid()
	grid.Vertical.Width = 0
	grid.Horizontal.Color = color.Gray{0xdd}
	p.Add(grid)
	const width = 0.13 // of a bar, in units of the axis on which languages are 1 apart
	highest := 1.0
	for i, b := range bars {
		for n, language := range languages {
			r, err := find(rows, language, b.subject)
			if err != nil {
				return err
			}
			value := r.Inner.P50
			if b.outer {
				value = r.Outer.P50
			}
			highest = max(highest, value)
			left := float64(n) + (float64(i)-float64(len(bars))/2)*width
			bar, err := plotter.NewPolygon(plotter.XYs{{X: left, Y: 1}, {X: left, Y: max(value, 1)}, {X: left + width*0.92, Y: max(value, 1)}, {X: left + width*0.92, Y: 1}})
			if err != nil {
				return fmt.Errorf("plot: %w", err)
			}
			bar.Color, bar.Width = b.color, 0
			label, err := plotter.NewLabels(plotter.XYLabels{
				XYs:    []plotter.XY{{X: left + width*0.46, Y: max(value, 1) * 1.06}},
				Labels: []string{short(value)},
			})
			if err != nil {
				return fmt.Errorf("plot: %w", err)
			}
			label.TextStyle[0].Font.Size = vg.Points(7)
			label.TextStyle[0].XAlign = -0.5
			p.Add(bar, label)
			if n == 0 {
				p.Legend.Add(b.label, bar)
			}
		}
	}
	p.X.Min, p.X.Max = -0.5, float64(len(languages))-0.5
	p.Y.Max = highest * 60 // room for the legend
	p.NominalX("C, 1 MB memory", "Rust", "Go, 3 MB module", "JavaScript on QuickJS")
	if err := p.Save(26*vg.Centimeter, 15*vg.Centimeter, file); err != nil {
		return fmt.Errorf("plot: %w", err)
	}
	return nil
}

// short is a number of microseconds with two or three digits.
func short(us float64) string {
	switch {
	case us < 10:
		return fmt.Sprintf("%.1f", us)
	case us < 10_000:
		return fmt.Sprintf("%.0f", us)
	default:
		return fmt.Sprintf("%.0fk", us/1000)
	}
}

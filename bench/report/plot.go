package report

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
)

// plot is a drawing of lines.
type plot struct {
	Title, X, Y string
	LogX, LogY  bool
	Lines       []line
}

type line struct {
	Name   string
	Points []point
}

type point struct{ X, Y float64 }

const (
	plotWidth, plotHeight    = 760.0, 360.0
	left, right, top, bottom = 70.0, 220.0, 40.0, 50.0
)

var colors = []string{"#c0392b", "#2c3e50", "#2980b9", "#27ae60", "#8e44ad", "#d35400", "#16a085", "#7f8c8d", "#b7950b", "#5d4037", "#e84393", "#00b894"}

// axis maps values to places.
type axis struct {
	min, max, from, to float64
	log                bool
}

func (a axis) at(v float64) float64 {
	lo, hi := a.min, a.max
	if a.log {
		lo, hi, v = math.Log10(lo), math.Log10(hi), math.Log10(v)
	}
	if hi == lo {
		return (a.from + a.to) / 2
	}
	return a.from + (v-lo)/(hi-lo)*(a.to-a.from)
}

// ticks are the values that are written at an axis.
func (a axis) ticks() []float64 {
	var out []float64
	if !a.log {
		for i := range 6 {
			out = append(out, a.min+(a.max-a.min)*float64(i)/5)
		}
		return out
	}
	for e := math.Floor(math.Log10(a.min)); e <= math.Ceil(math.Log10(a.max)); e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v >= a.min && v <= a.max {
				out = append(out, v)
			}
		}
	}
	return out
}

// measuredAt are the values that points have on the axis across.
func (p plot) measuredAt() []float64 {
	var out []float64
	for _, l := range p.Lines {
		for _, v := range l.Points {
			out = append(out, v.X)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (p plot) axes() (x, y axis) {
	x = axis{math.Inf(1), math.Inf(-1), left, plotWidth - right, p.LogX}
	y = axis{math.Inf(1), math.Inf(-1), plotHeight - bottom, top, p.LogY}
	for _, l := range p.Lines {
		for _, v := range l.Points {
			x.min, x.max = min(x.min, v.X), max(x.max, v.X)
			y.min, y.max = min(y.min, v.Y), max(y.max, v.Y)
		}
	}
	y.max *= 1.2
	if y.min /= 1.2; !y.log {
		y.min = 0
	}
	return x, y
}

func (p plot) svg() template.HTML {
	x, y := p.axes()
	var b strings.Builder
	fmt.Fprintf(&b, `<figure><svg viewBox="0 0 %g %g" role="img"><text x="%g" y="20" class="title">%s</text>`, plotWidth, plotHeight, left, template.HTMLEscapeString(p.Title))
	for _, v := range y.ticks() {
		fmt.Fprintf(&b, `<line x1="%g" x2="%g" y1="%.1f" y2="%.1f" class="grid"/><text x="%g" y="%.1f" class="tick" text-anchor="end">%s</text>`,
			left, plotWidth-right, y.at(v), y.at(v), left-6, y.at(v)+4, Number(&v))
	}
	for _, v := range p.measuredAt() {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" class="tick" text-anchor="middle">%g</text>`, x.at(v), plotHeight-bottom+16, v)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" class="label" text-anchor="middle">%s</text>`, (left+plotWidth-right)/2, plotHeight-12, template.HTMLEscapeString(p.X))
	fmt.Fprintf(&b, `<text transform="translate(14 %g) rotate(-90)" class="label" text-anchor="middle">%s</text>`, (top+plotHeight-bottom)/2, template.HTMLEscapeString(p.Y))
	for i, l := range p.Lines {
		p.draw(&b, l, i, x, y)
	}
	b.WriteString("</svg></figure>")
	return template.HTML(b.String()) // every text in it was escaped
}

func (p plot) draw(b *strings.Builder, l line, i int, x, y axis) {
	color := colors[i%len(colors)]
	var path []string
	for _, v := range l.Points {
		path = append(path, fmt.Sprintf("%.1f,%.1f", x.at(v.X), y.at(v.Y)))
		fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s, %s</title></circle>`,
			x.at(v.X), y.at(v.Y), color, template.HTMLEscapeString(l.Name), Number(&v.X), Number(&v.Y))
	}
	fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`, strings.Join(path, " "), color)
	at := top + 10 + float64(i)*18
	fmt.Fprintf(b, `<rect x="%g" y="%g" width="12" height="4" fill="%s"/><text x="%g" y="%g" class="tick">%s</text>`,
		plotWidth-right+16, at-4, color, plotWidth-right+34, at+1, template.HTMLEscapeString(l.Name))
}

//! Line plots and bars as SVG that needs nothing else: no font, no script, no style sheet.

use std::fmt::Write;

/// A plot.
pub struct Plot {
    /// The name of its file, without `.svg`.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// What is to the right.
    pub x: Axis,
    /// What goes up.
    pub y: Axis,
    /// The lines, in the order of the legend.
    pub lines: Vec<Line>,
    /// Spans of `x` that are shaded, with what they are.
    pub spans: Vec<(f64, f64, &'static str)>,
}

/// An axis.
#[derive(Clone, Copy, Debug)]
pub struct Axis {
    /// What it counts, with the unit.
    pub label: &'static str,
    /// Logarithmic: each step is ten times, or twice, the one before.
    pub scale: Scale,
}

/// How far apart numbers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// By their difference, from zero.
    Linear,
    /// By their ratio, in tens.
    Log10,
    /// By their ratio, in twos.
    Log2,
}

/// A line.
pub struct Line {
    /// What it is.
    pub label: String,
    /// Its points, by increasing `x`.
    pub points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 400.0;
/// Around the area of the lines.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 220.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 52.0;
/// Apart for people who do not tell red from green, too (Okabe and Ito).
const COLOURS: [&str; 8] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#8a6d3b"];
/// Beside colours: what is printed in grey stays apart.
const DASHES: [&str; 4] = ["none", "7 3", "2 3", "9 3 2 3"];

/// Where numbers of an axis are.
struct Ruler {
    scale: Scale,
    least: f64,
    most: f64,
    /// Of the picture, where `least` and `most` are.
    from: f64,
    to: f64,
}

// === impl Axis ===

impl Axis {
    /// From zero.
    pub const fn linear(label: &'static str) -> Self {
        Self { label, scale: Scale::Linear }
    }

    /// In tens.
    pub const fn log10(label: &'static str) -> Self {
        Self { label, scale: Scale::Log10 }
    }

    /// In twos.
    pub const fn log2(label: &'static str) -> Self {
        Self { label, scale: Scale::Log2 }
    }
}

// === impl Plot ===

impl Plot {
    /// A plot without lines.
    pub fn new(name: &'static str, title: impl Into<String>, x: Axis, y: Axis) -> Self {
        Self { name, title: title.into(), x, y, lines: Vec::new(), spans: Vec::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, label: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) {
        self.lines.push(Line { label: label.into(), points: points.into_iter().collect() });
    }

    /// The picture.
    pub fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| line.points.iter().copied());
        let x = Ruler::over(self.x.scale, points().map(|(x, _)| x), (LEFT, WIDTH - RIGHT));
        let y = Ruler::over(self.y.scale, points().map(|(_, y)| y), (HEIGHT - BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n<title>{0}</title>\n\
             <text x=\"{LEFT}\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{0}</text>\n",
            escaped(&self.title)
        );
        self.draw_spans(&mut svg, &x);
        draw_axes(&mut svg, &x, &y, self.x.label, self.y.label);
        for (at, line) in self.lines.iter().enumerate() {
            draw_line(&mut svg, at, line, &x, &y);
        }
        svg + "</svg>\n"
    }

    fn draw_spans(&self, svg: &mut String, x: &Ruler) {
        for (from, to, what) in &self.spans {
            let (from, to) = (x.place(*from), x.place(*to));
            put(
                svg,
                format_args!(
                    "<rect x=\"{from:.1}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f1e7d0\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#7a6a45\">{}</text>\n",
                    to - from,
                    HEIGHT - TOP - BOTTOM,
                    f64::midpoint(from, to),
                    TOP + 14.0,
                    escaped(what),
                ),
            );
        }
    }
}

fn draw_axes(svg: &mut String, x: &Ruler, y: &Ruler, across: &str, up: &str) {
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for mark in y.marks() {
        let at = y.place(mark);
        put(
            svg,
            format_args!(
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                LEFT - 6.0,
                at + 4.0,
                shown(mark),
            ),
        );
    }
    for mark in x.marks() {
        let at = x.place(mark);
        put(
            svg,
            format_args!(
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{bottom}\" y2=\"{:.1}\" stroke=\"#333\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                bottom + 4.0,
                bottom + 18.0,
                shown(mark),
            ),
        );
    }
    put(
        svg,
        format_args!(
            "<path d=\"M{LEFT} {TOP}V{bottom}H{right}\" fill=\"none\" stroke=\"#333\"/>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
            f64::midpoint(LEFT, right),
            HEIGHT - 12.0,
            escaped(across),
            f64::midpoint(TOP, bottom),
            escaped(up),
        ),
    );
}

fn draw_line(svg: &mut String, at: usize, line: &Line, x: &Ruler, y: &Ruler) {
    let colour = COLOURS.get(at % COLOURS.len()).copied().unwrap_or("#000");
    let dash = DASHES.get(at % DASHES.len()).copied().unwrap_or("none");
    let places: Vec<String> =
        line.points.iter().map(|(right, up)| format!("{:.1},{:.1}", x.place(*right), y.place(*up))).collect();
    put(
        svg,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" stroke-dasharray=\"{dash}\" \
         stroke-linejoin=\"round\"/>\n",
            places.join(" "),
        ),
    );
    let (beside, height) = (WIDTH - RIGHT + 12.0, TOP + 8.0 + at as f64 * 20.0);
    put(
        svg,
        format_args!(
            "<line x1=\"{beside}\" x2=\"{}\" y1=\"{height}\" y2=\"{height}\" stroke=\"{colour}\" stroke-width=\"2\" \
         stroke-dasharray=\"{dash}\"/>\n<text x=\"{}\" y=\"{}\">{}</text>\n",
            beside + 26.0,
            beside + 32.0,
            height + 4.0,
            escaped(&line.label),
        ),
    );
}

// === impl Ruler ===

impl Ruler {
    fn over(scale: Scale, numbers: impl Iterator<Item = f64>, (from, to): (f64, f64)) -> Self {
        let (mut least, mut most) = (f64::INFINITY, f64::NEG_INFINITY);
        // What is not above zero has no place on a logarithmic axis: it is drawn at the bottom.
        for number in numbers.filter(|number| scale == Scale::Linear || *number > 0.0) {
            (least, most) = (least.min(number), most.max(number));
        }
        if !least.is_finite() {
            (least, most) = (1.0, 10.0);
        }
        match scale {
            Scale::Linear => {
                least = 0.0;
                most = if most > 0.0 { most * 1.05 } else { 1.0 };
            }
            Scale::Log10 => {
                least = 10_f64.powf(least.log10().floor());
                most = 10_f64.powf(most.log10().ceil()).max(least * 10.0);
            }
            Scale::Log2 => most = most.max(least * 2.0),
        }
        Self { scale, least, most, from, to }
    }

    fn place(&self, number: f64) -> f64 {
        let number = number.clamp(self.least, self.most);
        let part = match self.scale {
            Scale::Linear => (number - self.least) / (self.most - self.least),
            Scale::Log10 | Scale::Log2 => (number / self.least).ln() / (self.most / self.least).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// The numbers that are written beside it.
    fn marks(&self) -> Vec<f64> {
        let below_most = |mark: &f64| *mark <= self.most * 1.000_001;
        match self.scale {
            Scale::Linear => {
                let wanted = (self.most - self.least) / 5.0;
                let ten = 10_f64.powf(wanted.log10().floor());
                let step = [1.0, 2.0, 5.0, 10.0].map(|step| step * ten).into_iter().find(|step| *step >= wanted * 0.85);
                let step = step.unwrap_or(wanted);
                (0..20).map(|at| self.least + f64::from(at) * step).take_while(below_most).collect()
            }
            Scale::Log10 => (0..20).map(|at| self.least * 10_f64.powi(at)).take_while(below_most).collect(),
            Scale::Log2 => (0..30).map(|at| self.least * 2_f64.powi(at)).take_while(below_most).collect(),
        }
    }
}

/// A number in as few digits as it has.
fn shown(number: f64) -> String {
    let text = if number != 0.0 && number.abs() < 0.0009 { format!("{number:.0e}") } else { format!("{number:.3}") };
    if text.contains('.') && !text.contains('e') {
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn put(svg: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    svg.write_fmt(what).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_where_they_belong_and_nothing_leaves_the_picture() {
        let mut plot = Plot::new("a", "1 < 2 & 3", Axis::log10("x"), Axis::linear("y"));
        plot.line("one", [(1.0, 0.0), (10.0, 50.0), (100.0, 100.0)]);
        plot.spans.push((1.0, 10.0, "bad"));
        let svg = plot.svg();
        assert!(svg.contains("1 &lt; 2 &amp; 3") && svg.contains(">bad<"), "{svg}");
        let line = svg.lines().find(|line| line.starts_with("<polyline")).unwrap();
        let places = line.split('"').nth(1).unwrap();
        let places: Vec<f64> = places.split([' ', ',']).map(|number| number.parse().unwrap()).collect();
        assert_eq!(places[0], LEFT);
        assert_eq!(places[1], HEIGHT - BOTTOM);
        assert!((places[2] - f64::midpoint(LEFT, WIDTH - RIGHT)).abs() < 0.1, "halfway on a logarithmic axis");
        assert_eq!(places[4], WIDTH - RIGHT);
        assert!(places[5] > TOP && places[5] < TOP + 30.0);
    }

    #[test]
    fn what_has_no_place_is_still_a_picture() {
        let mut plot = Plot::new("a", "empty", Axis::log10("x"), Axis::log10("y"));
        plot.line("none", []);
        plot.line("zeros", [(0.0, 0.0), (1.0, 0.0)]);
        assert!(!plot.svg().contains("NaN"));
        assert_eq!((shown(0.5), shown(1000.0), shown(0.0)), ("0.5".into(), "1000".into(), "0".into()));
    }
}

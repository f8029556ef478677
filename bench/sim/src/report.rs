//! What a part found: tables and plots for people, figures for programs, checks for both.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::svg::Plot;

/// What one part of the simulation found.
pub struct Part {
    /// Its heading.
    pub title: String,
    /// The figures.
    pub tables: Vec<Table>,
    /// The pictures.
    pub plots: Vec<Plot>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// A table of figures.
pub struct Table {
    /// What it is about.
    pub title: String,
    columns: Vec<String>,
    rows: Vec<Vec<Figure>>,
}

/// A cell of a table.
#[derive(Clone, Debug)]
pub enum Figure {
    /// A name.
    Text(String),
    /// A number, shown with so many decimals.
    Number(f64, usize),
}

/// A bound that must hold.
#[derive(Clone, Debug)]
pub struct Check {
    what: String,
    value: f64,
    bound: Bound,
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

// === impl Part ===

impl Part {
    /// A part without findings.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), tables: Vec::new(), plots: Vec::new(), checks: Vec::new() }
    }

    /// `value` must not be above `bound`.
    pub fn at_most(&mut self, what: impl Into<String>, value: f64, bound: f64) {
        self.checks.push(Check { what: what.into(), value, bound: Bound::AtMost(bound) });
    }

    /// `value` must not be below `bound`.
    pub fn at_least(&mut self, what: impl Into<String>, value: f64, bound: f64) {
        self.checks.push(Check { what: what.into(), value, bound: Bound::AtLeast(bound) });
    }

    /// As text for people.
    pub fn text(&self) -> String {
        let mut text = format!("## {}\n", self.title);
        for table in &self.tables {
            text += "\n";
            text += &table.text();
        }
        text
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "title": self.title,
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
            "checks": self.checks.iter().map(Check::json).collect::<Vec<_>>(),
        })
    }
}

// === impl Table ===

impl Table {
    /// An empty table.
    pub fn new(title: impl Into<String>, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { title: title.into(), columns: columns.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row, which begins with a name.
    pub fn row(&mut self, name: impl Into<String>, figures: impl IntoIterator<Item = Figure>) {
        self.rows.push(std::iter::once(Figure::Text(name.into())).chain(figures).collect());
    }

    fn text(&self) -> String {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(Figure::shown).collect()).collect();
        let width = |at: usize| {
            let of_rows = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            of_rows.chain(self.columns.get(at).map(|name| name.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).enumerate().map(|(at, (cell, width))| match at {
                0 => format!("{cell:width$}"),
                _ => format!("{cell:>width$}"),
            });
            format!("  {}\n", padded.collect::<Vec<_>>().join("  ").trim_end())
        };
        let mut text = format!("{}\n{}", self.title, line(&self.columns));
        cells.iter().for_each(|row| text += &line(row));
        text
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let pairs = self.columns.iter().zip(row).map(|(name, figure)| (name.clone(), figure.json()));
            Value::Object(pairs.collect())
        });
        json!({ "title": self.title, "rows": rows.collect::<Vec<_>>() })
    }
}

// === impl Figure ===

impl Figure {
    /// A share, shown in percent.
    pub fn percent(share: f64) -> Self {
        Self::Number(share * 100.0, 2)
    }

    /// A count.
    pub fn count(count: impl TryInto<i64>) -> Self {
        Self::Number(count.try_into().map_or(f64::NAN, |count| count as f64), 0)
    }

    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(number, decimals) => format!("{number:.decimals$}"),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            // What is shown is what is said: digits beyond that mean nothing.
            Self::Number(..) => self.shown().parse::<f64>().map_or(Value::Null, |number| json!(number)),
        }
    }
}

// === impl Check ===

impl Check {
    /// Whether the bound holds. What is no number holds nothing.
    pub fn holds(&self) -> bool {
        match self.bound {
            Bound::AtMost(bound) => self.value <= bound,
            Bound::AtLeast(bound) => self.value >= bound,
        }
    }

    /// As a line for people.
    pub fn text(&self) -> String {
        let mut line = if self.holds() { "ok      ".to_owned() } else { "BROKEN  ".to_owned() };
        let (word, bound) = self.bound();
        // Writing to a string cannot fail.
        write!(line, "{}: {}, {word} {}", self.what, short(self.value), short(bound)).ok();
        line
    }

    fn json(&self) -> Value {
        let (word, bound) = self.bound();
        json!({
            "what": self.what,
            "value": short(self.value).parse::<f64>().ok().filter(|value| value.is_finite()),
            "bound": format!("{word} {}", short(bound)),
            "holds": self.holds(),
        })
    }

    fn bound(&self) -> (&'static str, f64) {
        match self.bound {
            Bound::AtMost(bound) => ("at most", bound),
            Bound::AtLeast(bound) => ("at least", bound),
        }
    }
}

/// At most four decimals, and none that say nothing.
fn short(number: f64) -> String {
    let text = format!("{number:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

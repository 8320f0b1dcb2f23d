//! Text tables for a terminal: columns as wide as their widest cell, numbers to the right.

use std::fmt;

/// A table under construction; [`Display`](fmt::Display) prints it.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Returns a table without rows whose columns have the names in `header`. The first column is aligned to the left,
    /// all others to the right.
    pub fn new<const COLUMNS: usize>(header: [&str; COLUMNS]) -> Self {
        Self { header: header.map(str::to_owned).to_vec(), rows: Vec::new() }
    }

    /// Appends a row, which has as many cells as the table has columns.
    pub fn row<const COLUMNS: usize>(&mut self, cells: [String; COLUMNS]) {
        assert_eq!(COLUMNS, self.header.len(), "a row has one cell for each column");
        self.rows.push(cells.to_vec());
    }

    /// Returns the table as Markdown for GitHub, with numbers to the right.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule = format!("| --- |{}\n", " ---: |".repeat(self.header.len() - 1));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{rule}{rows}", line(&self.header))
    }

    fn widths(&self) -> Vec<usize> {
        let lines = || std::iter::once(&self.header).chain(&self.rows);
        (0..self.header.len())
            .map(|column| lines().map(|line| line[column].chars().count()).max().unwrap_or(0))
            .collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        let rule: Vec<String> = widths.iter().map(|&width| "-".repeat(width)).collect();
        for line in [&self.header, &rule].into_iter().chain(&self.rows) {
            write!(f, "{:<width$}", line[0], width = widths[0])?;
            for (cell, width) in line.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(["name", "µs"]);
        table.row(["a".into(), "10.25".into()]);
        table.row(["longer".into(), "7".into()]);
        assert_eq!(table.to_string(), "name       µs\n------  -----\na       10.25\nlonger      7\n");
        assert_eq!(table.markdown(), "| name | µs |\n| --- | ---: |\n| a | 10.25 |\n| longer | 7 |\n");
    }
}

//! Answers as tables for people.

use crate::cli::sanitize::{self, Escapes};
use crate::describe::{Grant, Parameters, Target};

/// The stages of a file; one without a name by its number.
pub(super) fn of_targets(targets: &[Target]) -> String {
    let row = |target: &Target| {
        let name = target.name.clone().unwrap_or_else(|| target.number.to_string());
        let mark = if target.is_default { " (default)" } else { "" };
        vec![
            format!("{name}{mark}"),
            target.base.clone(),
            target.platform.clone().unwrap_or_default(),
            target.description.clone().unwrap_or_default(),
        ]
    };
    table(
        &["TARGET", "BASE", "PLATFORM", "DESCRIPTION"],
        targets.iter().map(row).collect(),
    )
}

/// The parameters of a target, a table for each kind there is.
pub(super) fn of_parameters(parameters: &Parameters) -> String {
    let mut tables = Vec::new();
    if let Some(name) = &parameters.target {
        let description = parameters
            .description
            .iter()
            .map(|text| format!("DESCRIPTION: {text}\n"));
        tables.push(format!("TARGET: {name}\n{}", description.collect::<String>()));
    }
    let args = parameters.args.iter().map(|arg| {
        vec![
            arg.name.clone(),
            arg.value.clone().unwrap_or_default(),
            arg.description.clone().unwrap_or_default(),
        ]
    });
    tables.push(table(&["BUILD ARG", "VALUE", "DESCRIPTION"], args.collect()));
    tables.push(of_grants("SECRET", &parameters.secrets));
    tables.push(of_grants("SSH", &parameters.ssh));
    tables.retain(|table| !table.is_empty());
    match tables.is_empty() {
        true => "The target takes no parameters.\n".to_owned(),
        false => tables.join("\n"),
    }
}

fn of_grants(kind: &str, grants: &[Grant]) -> String {
    let row = |grant: &Grant| vec![grant.id.clone(), if grant.required { "yes" } else { "no" }.to_owned()];
    table(&[kind, "REQUIRED"], grants.iter().map(row).collect())
}

/// Columns as wide as their widest cell; nothing without rows.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let head = head.iter().map(|cell| (*cell).to_owned()).collect();
    // The cells come out of a file that may not be trusted.
    let clean = |cell: String| sanitize::line(cell.as_bytes(), Escapes::Drop);
    let rows: Vec<Vec<String>> = std::iter::once(head)
        .chain(rows)
        .map(|row| row.into_iter().map(clean).collect())
        .collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_cells_fit_to_print() {
        let rows = vec![
            vec!["a".to_owned(), "\u{1b}[2Jlong cell".to_owned(), String::new()],
            vec!["longer".to_owned(), "é".to_owned(), "x".to_owned()],
        ];
        assert_eq!(
            table(&["ONE", "TWO", "THREE"], rows),
            "ONE      TWO         THREE\na        long cell\nlonger   é           x\n"
        );
        assert_eq!(table(&["ONE"], Vec::new()), "");
    }
}

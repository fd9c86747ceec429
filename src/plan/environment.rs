//! Variables of a stage: what ENV and ARG have set so far.

use std::collections::HashMap;

use super::PlanOptions;
use super::error::PlanProblem;
use crate::dockerfile::{ArgItem, Budget, Escape, ExpandProblem, Expander, Hint, KeyValue, Span, Word, closest};

/// What a process finds when an image sets no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables in the order they were first set, each once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Variables {
    entries: Vec<(String, String)>,
    /// Where in `entries` a name stands.
    places: HashMap<String, usize>,
    budget: Budget,
}

impl Variables {
    /// From `KEY=value` entries; of equal keys the last counts.
    pub(super) fn from_entries(entries: &[String]) -> Self {
        let mut variables = Self::default();
        for entry in entries {
            let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
            variables.set(key, value);
        }
        variables
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.entries.get(*self.places.get(key)?)?;
        Some(value)
    }

    /// Replaces in place, or appends.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        match self.places.get(key) {
            Some(place) => value.clone_into(&mut self.entries[*place].1),
            None => {
                self.places.insert(key.to_owned(), self.entries.len());
                self.entries.push((key.to_owned(), value.to_owned()));
            }
        }
    }

    /// Their names, in that order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn entries(&self) -> Vec<String> {
        let entries = self.entries.iter();
        entries.map(|(key, value)| format!("{key}={value}")).collect()
    }

    /// What to try about a variable that must have a value and has none.
    pub(super) fn hint(&self, problem: &PlanProblem) -> Option<Hint> {
        let PlanProblem::Expand(error) = problem else {
            return None;
        };
        let ExpandProblem::Required { name, .. } = &error.problem else {
            return None;
        };
        let advice = "give it a value with --build-arg, or with an ARG or ENV before this line";
        closest(name, self.names()).or(Some(Hint::Try(advice)))
    }
}

/// What a stage expands with and what its processes see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Environment {
    /// Base image, ENV and ARG together; whichever comes later wins.
    pub(crate) variables: Variables,
    /// Names of ARGs in the order they were first declared, those of base stages included.
    declared: Vec<String>,
}

/// ARGs that say something to the builder and are no variables.
pub(crate) const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

impl Environment {
    /// Starts from an image's `Env`.
    pub(crate) fn of_image(env: &[String]) -> Self {
        Self {
            variables: Variables::from_entries(env),
            declared: Vec::new(),
        }
    }

    /// Spends from `budget` from now on.
    pub(crate) fn spend_from(&mut self, budget: &Budget) {
        self.variables.budget = budget.clone();
    }

    /// The environment of a process, `KEY=value`. Every one is a copy, which is paid for.
    pub(super) fn of_process(&self) -> Result<Vec<String>, PlanProblem> {
        let entries = self.variables.entries();
        self.variables.budget.spend(entries.iter().map(String::len).sum())?;
        Ok(entries)
    }

    /// Calls `expand` with the present variables.
    pub(crate) fn expand<T>(
        &self,
        escape: Escape,
        expand: impl FnOnce(&mut Expander<'_>) -> Result<T, crate::dockerfile::ExpandError>,
    ) -> Result<T, PlanProblem> {
        expand_with(&self.variables, escape, expand)
    }

    /// Declares one ARG and gives its value, if it has one.
    pub(crate) fn declare(
        &mut self,
        item: &ArgItem,
        globals: &Variables,
        options: &PlanOptions,
        escape: Escape,
    ) -> Result<Option<String>, PlanProblem> {
        let value = match (options.build_arg(&item.name), &item.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => Some(self.expand(escape, |expander| expander.word(default))?),
            (None, None) => globals.get(&item.name).map(str::to_owned),
        };
        if let Some(value) = &value
            && !NO_VARIABLES.contains(&item.name.as_str())
        {
            self.variables.set(&item.name, value);
        }
        if !self.declared.contains(&item.name) {
            self.declared.push(item.name.clone());
        }
        Ok(value)
    }

    /// Sets the variables of an ENV; all pairs see the values from before it. Gives the names. A pair that cannot be
    /// expanded is passed over: this is for those who only look.
    pub(crate) fn set_all(&mut self, pairs: &[KeyValue], escape: Escape) -> Vec<String> {
        let word = |word: &Word| self.expand(escape, |expander| expander.word(word)).ok();
        let pair = |pair: &KeyValue| Some((word(&pair.key)?, word(&pair.value).unwrap_or_default()));
        let pairs: Vec<_> = pairs.iter().filter_map(pair).collect();
        for (name, value) in &pairs {
            self.variables.set(name, value);
        }
        pairs.into_iter().map(|(name, _)| name).collect()
    }

    /// Whether an ARG of this name was declared, with a value or without.
    pub(crate) fn is_declared(&self, name: &str) -> bool {
        self.declared.iter().any(|declared| declared == name)
    }

    /// `KEY=value` of every declared ARG with its present value, as the history of RUN shows them.
    pub(super) fn declared(&self) -> Vec<String> {
        let value = |name: &String| self.variables.get(name).unwrap_or_default().to_owned();
        self.declared
            .iter()
            .map(|name| format!("{name}={}", value(name)))
            .collect()
    }
}

/// The global scope: automatic arguments, then ARGs before the first FROM in order.
pub(super) fn global_scope<'a>(
    items: impl IntoIterator<Item = (&'a ArgItem, Span)>,
    automatic: Vec<(String, String)>,
    options: &PlanOptions,
    escape: Escape,
) -> Result<Variables, (PlanProblem, Option<Hint>, Span)> {
    let mut globals = Variables::default();
    for (name, value) in &automatic {
        globals.set(name, value);
    }
    for (item, span) in items {
        let value = match (options.build_arg(&item.name), &item.default) {
            (Some(given), _) => Some(given.to_owned()),
            (None, Some(default)) => {
                let value = expand_word(&globals, escape, default).map_err(|problem| {
                    let hint = globals.hint(&problem);
                    (problem, hint, span)
                })?;
                Some(value)
            }
            (None, None) => None,
        };
        if let Some(value) = value {
            globals.set(&item.name, &value);
        }
    }
    Ok(globals)
}

/// Expands with a snapshot of `variables`.
pub(crate) fn expand_with<T>(
    variables: &Variables,
    escape: Escape,
    expand: impl FnOnce(&mut Expander<'_>) -> Result<T, crate::dockerfile::ExpandError>,
) -> Result<T, PlanProblem> {
    let lookup = |name: &str| variables.get(name).map(str::to_owned);
    let mut expander = Expander::new(escape, &lookup).spending(&variables.budget);
    Ok(expand(&mut expander)?)
}

/// Expands one word.
pub(super) fn expand_word(variables: &Variables, escape: Escape, word: &Word) -> Result<String, PlanProblem> {
    expand_with(variables, escape, |expander| expander.word(word))
}

/// Sets a variable in an image's `Env`: in its first place if it has one, at the end otherwise.
pub(super) fn set_entry(env: &mut Vec<String>, key: &str, value: &str) {
    let names = |entry: &String| {
        entry
            .strip_prefix(key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('='))
    };
    let entry = format!("{key}={value}");
    match env.iter().position(names) {
        Some(place) => env[place] = entry,
        None => env.push(entry),
    }
}

/// Appends the default PATH to an image's `Env` that has none.
pub(crate) fn ensure_path(env: &mut Vec<String>) {
    if !env.iter().any(|entry| entry.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
}

//! What can be given to the build of a target: arguments, secrets, SSH agents.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfile::{
    self, Arg, ArgItem, Budget, Dockerfile, Escape, Instruction, Run, Span, Spanned, Spelling, Word,
};
use crate::plan::{
    Base, BaseConfigs, Environment, Mount, MountKind, Outline, PlanError, Scope, StageId, StageView, Surroundings,
    ensure_path, expand_with,
};

/// The parameters of a target.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Parameters {
    /// The target's name.
    pub target: Option<String>,
    /// What the comment before it says.
    pub description: Option<String>,
    /// The arguments that the target or a stage it needs declares or uses, in the order of the file.
    pub args: Vec<Argument>,
    /// The secrets that RUNs mount.
    pub secrets: Vec<Grant>,
    /// The SSH agents that RUNs mount.
    pub ssh: Vec<Grant>,
}

/// A build argument.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Argument {
    /// Its name.
    pub name: String,
    /// The value it would have; none without a default.
    pub value: Option<String>,
    /// What the comment before it says.
    pub description: Option<String>,
    /// The ARG.
    pub span: Span,
}

/// Something that a RUN mounts and the command line grants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// Whether the RUN fails without it.
    pub required: bool,
    /// The first RUN that mounts it.
    pub span: Span,
}

/// Finds the parameters of the outline's target.
///
/// # Errors
/// Triggers of ONBUILD that the planner refuses as well.
pub fn parameters(file: &Dockerfile, outline: &Outline) -> Result<Parameters, PlanError> {
    let mut reading = Reading {
        file,
        outline,
        ended: BTreeMap::new(),
        budget: Budget::default(),
        used: BTreeSet::new(),
        args: BTreeMap::new(),
        secrets: BTreeMap::new(),
        ssh: BTreeMap::new(),
    };
    for view in outline.stages(Scope::Target, &BaseConfigs::new())? {
        reading.stage(&view);
    }
    reading.globals();
    Ok(reading.into_parameters())
}

/// What has been found so far, by name. Later stages come closer to the target, so they win.
struct Reading<'a> {
    file: &'a Dockerfile,
    outline: &'a Outline,
    ended: BTreeMap<StageId, Environment>,
    /// What all expansions together may cost.
    budget: Budget,
    /// Names whose value comes from the global scope, if they have one there.
    used: BTreeSet<String>,
    args: BTreeMap<String, Argument>,
    secrets: BTreeMap<String, Grant>,
    ssh: BTreeMap<String, Grant>,
}

impl Reading<'_> {
    fn stage(&mut self, view: &StageView<'_>) {
        let from = &self.file.stages[view.id.0].from;
        for word in std::iter::once(&from.value.image).chain(&from.value.platform) {
            self.used.extend(self.globals_in(word));
        }
        let mut environment = match view.base {
            Base::Stage(id) => self.ended.get(id).cloned().unwrap_or_default(),
            Base::Scratch | Base::Image(_) => {
                let mut env = Vec::new();
                ensure_path(&mut env);
                Environment::of_image(&env)
            }
        };
        environment.spend_from(&self.budget);
        let triggers = view.triggers.iter().map(|trigger| (trigger, from.span));
        let own = view.instructions.iter().map(|statement| (*statement, statement.span));
        for (statement, span) in triggers.chain(own) {
            match &statement.instruction {
                Instruction::Arg(arg) => self.arg(arg, &statement.spelling, span, &mut environment),
                Instruction::Env(env) => drop(environment.set_all(&env.pairs, self.escape())),
                Instruction::Run(run) => self.run(run, span, &environment),
                _ => {}
            }
        }
        self.ended.insert(view.id, environment);
    }

    fn escape(&self) -> Escape {
        self.file.directives.escape
    }

    fn arg(&mut self, arg: &Arg, spelling: &Spelling, span: Span, environment: &mut Environment) {
        let (outline, escape) = (self.outline, self.escape());
        for item in &arg.items {
            let options = outline.options();
            let declared = environment.declare(item, outline.globals(), options, escape);
            if item.default.is_none() && options.build_arg(&item.name).is_none() && self.is_global(&item.name) {
                self.used.insert(item.name.clone());
            } else if item.default.is_some() || !self.is_automatic(&item.name) {
                let value = declared.ok().flatten();
                self.args
                    .insert(item.name.clone(), argument(item, value, spelling, span));
            }
        }
    }

    /// Whether the file declares an argument of this name before its first FROM.
    fn is_global(&self, name: &str) -> bool {
        self.global_items().any(|(item, _)| item.name == name)
    }

    /// Whether the builder sets it whatever the file says; that is no parameter of the file.
    fn is_automatic(&self, name: &str) -> bool {
        self.outline.globals().get(name).is_some() && !self.is_global(name)
    }

    fn run(&mut self, run: &Run, span: Span, environment: &Environment) {
        for mount in &run.mounts {
            let Some(mount) = self.mount(mount, environment) else {
                continue;
            };
            match mount.kind {
                MountKind::Secret(secret) => grant(&mut self.secrets, secret.id, secret.required, span),
                MountKind::Ssh(ssh) => grant(&mut self.ssh, ssh.id, ssh.required, span),
                MountKind::Bind { .. } | MountKind::Cache(_) | MountKind::Tmpfs { .. } => {}
            }
        }
    }

    /// One that is wrong is the planner's business.
    fn mount(&self, mount: &dockerfile::Mount, environment: &Environment) -> Option<Mount> {
        let around = Surroundings {
            cwd: "/",
            cache_namespace: "",
            from: None,
            ssh_before: 0,
        };
        let expand = |word: &Word| environment.expand(self.escape(), |expander| expander.word(word));
        Mount::plan(mount, around, expand).ok()
    }

    /// Adds the global arguments that are used, and those that their defaults use.
    fn globals(&mut self) {
        let items: Vec<_> = self
            .global_items()
            .map(|(item, arg)| (item.clone(), arg.clone()))
            .collect();
        // A default only sees what stands before it.
        for (item, arg) in items.iter().rev() {
            if !self.used.contains(&item.name) {
                continue;
            }
            let overridden = self.outline.options().build_arg(&item.name).is_some();
            if let Some(default) = item.default.as_ref().filter(|_| !overridden) {
                self.used.extend(self.globals_in(default));
            }
            let value = self.outline.globals().get(&item.name).map(str::to_owned);
            let found = argument(item, value, &arg.spelling, arg.span);
            self.args.entry(item.name.clone()).or_insert(found);
        }
    }

    fn global_items(&self) -> impl Iterator<Item = (&ArgItem, &Spanned<Arg>)> {
        let args = self.file.global_args.iter();
        args.flat_map(|arg| arg.value.items.iter().map(move |item| (item, arg)))
    }

    /// The names in a word that only global arguments expand.
    fn globals_in(&self, word: &Word) -> Vec<String> {
        let names = expand_with(self.outline.globals(), self.escape(), |expander| {
            // What it named is known even if it cannot be expanded.
            let _ = expander.word(word);
            let names = expander.names();
            Ok(names.set.iter().chain(&names.unset).cloned().collect())
        });
        names.unwrap_or_default()
    }

    fn into_parameters(self) -> Parameters {
        let target = &self.file.stages[self.outline.target().0].from;
        let name = target.value.name.clone();
        let describe = |name: &String| target.spelling.description_of(name);
        Parameters {
            description: name.as_ref().and_then(describe).map(str::to_owned),
            target: name,
            args: by_line(self.args, |arg| arg.span),
            secrets: by_line(self.secrets, |secret| secret.span),
            ssh: by_line(self.ssh, |ssh| ssh.span),
        }
    }
}

fn argument(item: &ArgItem, value: Option<String>, spelling: &Spelling, span: Span) -> Argument {
    Argument {
        name: item.name.clone(),
        value,
        description: spelling.description_of(&item.name).map(str::to_owned),
        span,
    }
}

/// Whoever needs it once needs it.
fn grant(grants: &mut BTreeMap<String, Grant>, id: String, required: bool, span: Span) {
    let new = Grant {
        id: id.clone(),
        required: false,
        span,
    };
    grants.entry(id).or_insert(new).required |= required;
}

fn by_line<T>(map: BTreeMap<String, T>, span: impl Fn(&T) -> Span) -> Vec<T> {
    let mut values: Vec<T> = map.into_values().collect();
    values.sort_by_key(&span);
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use crate::plan::{PlanOptions, outline};

    /// `name=value # description` of each argument, then secrets and agents with `!` if they are required.
    fn shown(text: &str, options: &PlanOptions) -> Vec<String> {
        let file = parse("f", text.as_bytes()).unwrap();
        let found = parameters(&file, &outline(&file, options).unwrap()).unwrap();
        let args = found.args.iter().map(|arg| {
            let value = arg.value.as_ref().map(|value| format!("={value}")).unwrap_or_default();
            let text = arg
                .description
                .as_ref()
                .map(|text| format!(" # {text}"))
                .unwrap_or_default();
            format!("{}:{}{value}{text}", arg.span.first, arg.name)
        });
        let grant = |kind: &str, grant: &Grant| {
            let mark = if grant.required { "!" } else { "" };
            format!("{}:{kind} {}{mark}", grant.span.first, grant.id)
        };
        let secrets = found.secrets.iter().map(|secret| grant("secret", secret));
        let ssh = found.ssh.iter().map(|ssh| grant("ssh", ssh));
        args.chain(secrets).chain(ssh).collect()
    }

    const TEXT: &str = "\
# BASE is the image to start from
ARG BASE=debian
ARG SUITE=bookworm
ARG TAG=${SUITE}-slim
# UNUSED is used by nothing
ARG UNUSED=x
FROM $BASE:$TAG AS tools
# LEVEL of optimisation
ARG LEVEL=2 FLAGS=-O$LEVEL
RUN --mount=type=secret,id=npm --mount=type=ssh true
FROM scratch AS other
ARG NOTHING
FROM tools AS app
ARG SUITE
ARG REQUIRED
ARG TARGETARCH
ARG LEVEL=3
RUN --mount=type=secret,required=true,target=/x/npm --mount=type=secret,source=b true
RUN --mount=type=ssh,id=deploy,required true
";

    #[test]
    fn l443_what_the_target_uses() {
        let mut options = PlanOptions::default();
        assert_eq!(
            shown(TEXT, &options),
            [
                "2:BASE=debian # is the image to start from",
                "3:SUITE=bookworm",
                "4:TAG=bookworm-slim",
                "9:FLAGS=-O2",
                "15:REQUIRED",
                "17:LEVEL=3",
                "10:secret npm!",
                "18:secret b",
                "10:ssh default",
                "19:ssh deploy!",
            ]
        );
        options.build_args = vec![
            ("TAG".to_owned(), "13".to_owned()),
            ("LEVEL".to_owned(), "0".to_owned()),
        ];
        options.targets = vec!["tools".to_owned()];
        assert_eq!(
            shown(TEXT, &options),
            [
                "2:BASE=debian # is the image to start from",
                "4:TAG=13",
                "9:FLAGS=-O0",
                "9:LEVEL=0 # of optimisation",
                "10:secret npm",
                "10:ssh default",
            ]
        );
        options.targets = vec!["other".to_owned()];
        assert_eq!(shown(TEXT, &options), ["12:NOTHING"]);
    }
}

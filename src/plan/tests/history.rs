//! Rows 389 to 398 of the checklist: what the history says.

use super::*;

/// The target's own entries, `created_by` alone, `-` behind those without a layer.
fn history_of(text: &str, build_args: &[(&str, &str)]) -> Vec<String> {
    let plan = plan_with(text, &options(build_args)).unwrap();
    let entries = target(&plan)
        .config
        .history
        .iter()
        .filter(|entry| entry.comment.is_some());
    let show = |entry: &History| {
        assert_eq!(entry.comment.as_deref(), Some("buildkit.dockerfile.v0"), "{text}");
        let empty = if entry.empty_layer { " -" } else { "" };
        format!("{}{empty}", entry.created_by.as_deref().unwrap_or_default())
    };
    entries.map(show).collect()
}

#[test]
fn l389_one_entry_for_each_instruction() {
    let text = "FROM a\nARG x=1\nENV y=2\nRUN r\nCOPY c /\nADD d /\nWORKDIR /w\nLABEL l=m\nUSER u\nSTOPSIGNAL 9\n\
                MAINTAINER m\nEXPOSE 1\nVOLUME /v\nSHELL [\"s\"]\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\nHEALTHCHECK NONE\nONBUILD RUN t";
    let history = history_of(text, &[]);
    assert_eq!(history.len(), 16, "{history:#?}");
    let layers = history.iter().filter(|entry| !entry.ends_with(" -"));
    let layers: Vec<_> = layers.filter_map(|entry| entry.split(' ').next()).collect();
    assert_eq!(layers, ["RUN", "COPY", "ADD", "WORKDIR"]);
}

#[test]
fn l390_l395_texts() {
    for (what, instructions, expected) in [
        ("RUN", "RUN cmd", "RUN /bin/sh -c cmd # buildkit"),
        ("RUN in exec form", "RUN [\"a\", \"b c\"]", "RUN a b c # buildkit"),
        (
            "RUN under SHELL",
            "SHELL [\"s\", \"-c\"]\nRUN a",
            "RUN s -c a # buildkit",
        ),
        ("RUN of a body", "RUN <<E\na\nb\nE", "RUN /bin/sh -c a\nb\n # buildkit"),
        (
            "RUN of a script",
            "RUN <<E\n#!/x\nE",
            "RUN /bin/sh -c /dev/pipes/E # buildkit",
        ),
        ("RUN does not expand", "ENV v=1\nRUN $v", "RUN /bin/sh -c $v # buildkit"),
        (
            "one ARG",
            "ARG foo=1\nRUN cmd",
            "RUN |1 foo=1 /bin/sh -c cmd # buildkit",
        ),
        (
            "ARGs once, in the order of their first, with their last value",
            "ARG foo=bar\nARG bar=123\nARG foo=bar2\nRUN cmd",
            "RUN |2 foo=bar2 bar=123 /bin/sh -c cmd # buildkit",
        ),
        (
            "an ARG without a value",
            "ARG none\nRUN cmd",
            "RUN |1 none= /bin/sh -c cmd # buildkit",
        ),
        (
            "ENV over ARG",
            "ARG e=1\nENV e=2\nRUN cmd",
            "RUN |1 e=2 /bin/sh -c cmd # buildkit",
        ),
        ("an ARG that comes later", "RUN cmd\nARG e=1", "ARG e=1 -"),
        (
            "an automatic ARG",
            "ARG TARGETARCH\nRUN cmd",
            "RUN |1 TARGETARCH=arm64 /bin/sh -c cmd # buildkit",
        ),
        ("COPY", "ENV s=src\nCOPY $s b* /d/", "COPY src b* /d/ # buildkit"),
        (
            "COPY with an owner",
            "ARG o=1\nCOPY --chown=$o:2 --chmod=u+x --from=x a b /d",
            "COPY --chown=1:2 --chmod=u+x a b /d # buildkit",
        ),
        ("COPY as JSON", "COPY [\"a b\", \"c\"]", "COPY a b c # buildkit"),
        (
            "COPY of heredocs",
            "COPY <<A p <<B /d/\nA\nB",
            "COPY p <<A <<B /d/ # buildkit",
        ),
        ("ADD", "ADD --chown=1 a /d", "ADD --chown=1 a /d # buildkit"),
        ("WORKDIR", "WORKDIR /a\nWORKDIR b", "WORKDIR /a/b"),
        ("WORKDIR /", "WORKDIR /", "WORKDIR / -"),
        ("ENV", "ENV a=1\nENV b=\"$a 2\" c='3'", "ENV b=1 2 c=3 -"),
        ("LABEL", "ENV a=1\nLABEL $a=$a b=c", "LABEL 1=1 b=c -"),
        ("LABEL, old form", "LABEL a b  c", "LABEL a=b  c -"),
        ("ARG", "ARG a=1 b c=$a", "ARG a=1 b c=1 -"),
        ("USER", "ENV u=x\nUSER $u:1", "USER x:1 -"),
        ("STOPSIGNAL", "STOPSIGNAL term", "STOPSIGNAL term -"),
        ("MAINTAINER", "MAINTAINER a  <b>", "MAINTAINER a  <b> -"),
        (
            "EXPOSE",
            "EXPOSE 90/udp 80 70-71",
            "EXPOSE [70/tcp 71/tcp 80/tcp 90/udp] -",
        ),
        ("VOLUME", "VOLUME /b /a", "VOLUME [/b /a] -"),
        ("SHELL", "SHELL [\"/bin/bash\", \"-c\"]", "SHELL [/bin/bash -c] -"),
        ("CMD", "CMD [\"a\", \"b\\\"\"]", "CMD [\"a\" \"b\\\"\"] -"),
        ("CMD of a shell", "CMD a b", "CMD [\"/bin/sh\" \"-c\" \"a b\"] -"),
        ("CMD []", "CMD []", "CMD [] -"),
        ("ENTRYPOINT", "ENTRYPOINT [\"a\", \"b\"]", "ENTRYPOINT [\"a\" \"b\"] -"),
        (
            "HEALTHCHECK",
            "HEALTHCHECK --interval=90s --start-period=1500ms --retries=3 CMD a b",
            "HEALTHCHECK {Test:[CMD-SHELL a b] Interval:1m30s Timeout:0s StartPeriod:1.5s StartInterval:0s Retries:3} -",
        ),
        (
            "HEALTHCHECK NONE",
            "HEALTHCHECK NONE",
            "HEALTHCHECK {Test:[NONE] Interval:0s Timeout:0s StartPeriod:0s StartInterval:0s Retries:0} -",
        ),
    ] {
        let history = history_of(&format!("FROM a\n{instructions}"), &[]);
        assert_eq!(history.last().map(String::as_str), Some(expected), "{what}");
    }
}

#[test]
fn l390_declared_arguments_of_the_whole_chain() {
    for (text, build_args, expected) in [
        ("ARG g=1\nFROM a\nRUN x", &[][..], "RUN /bin/sh -c x # buildkit"),
        (
            "ARG g=1\nFROM a\nARG g\nRUN x",
            &[],
            "RUN |1 g=1 /bin/sh -c x # buildkit",
        ),
        (
            "FROM a AS p\nARG b=1\nFROM p\nARG a=2\nRUN x",
            &[],
            "RUN |2 b=1 a=2 /bin/sh -c x # buildkit",
        ),
        ("FROM a\nRUN x", &[("http_proxy", "p")], "RUN /bin/sh -c x # buildkit"),
        (
            "FROM a\nARG http_proxy\nRUN x",
            &[("http_proxy", "p")],
            "RUN |1 http_proxy=p /bin/sh -c x # buildkit",
        ),
    ] {
        assert_eq!(
            history_of(text, build_args).last().map(String::as_str),
            Some(expected),
            "{text}"
        );
    }
}

#[test]
fn l398_only_the_chain_of_the_target() {
    let text = "FROM base AS p\nENV a=1\nFROM other AS q\nENV b=2\nFROM p\nCOPY --from=q x /\nENV c=3";
    let plan = plan_of(text);
    assert_eq!(created_by(&plan), ["base", "ENV a=1", "COPY x / # buildkit", "ENV c=3"]);
}

//! What a reload changes, in words: by name, for the one line that the log gets, and for what needs a restart.

use std::collections::{HashMap, HashSet};

use crate::config::model::{Action, Config, LogFile, Route, Server};

/// What was added, removed and changed from one configuration to the next.
pub fn summary(before: &Config, after: &Config) -> String {
    let mut added = Vec::new();
    let mut removed = Vec::new();
    let mut changed = Vec::new();
    let mut section = |kind: &str, old: Vec<(&str, String)>, new: Vec<(&str, String)>| {
        let (was, is): (HashMap<_, _>, HashSet<_>) =
            (old.iter().cloned().collect(), new.iter().map(|(name, _)| *name).collect());
        for (name, value) in &new {
            match was.get(name) {
                None => added.push(format!("{kind}:{name}")),
                Some(was) if was != value => changed.push(format!("{kind}:{name}")),
                Some(_) => {}
            }
        }
        removed.extend(old.iter().filter(|(name, _)| !is.contains(name)).map(|(name, _)| format!("{kind}:{name}")));
    };
    section("listen", listens(before), listens(after));
    section("route", routes(before), routes(after));
    section("pool", pools(before), pools(after));
    for (name, same) in [
        ("timeouts", before.timeouts == after.timeouts),
        ("limits", before.limits == after.limits),
        ("log", before.log == after.log),
    ] {
        if !same {
            changed.push(name.to_owned());
        }
    }
    if added.is_empty() && removed.is_empty() && changed.is_empty() && order(before) != order(after) {
        changed.push("order of routes".to_owned());
    }
    let mut parts = Vec::new();
    for (verb, names) in [("added", added), ("removed", removed), ("changed", changed)] {
        if !names.is_empty() {
            parts.push(format!("{verb} {}", names.join(", ")));
        }
    }
    if parts.is_empty() { "nothing changed".to_owned() } else { parts.join("; ") }
}

/// One line each for what the file says and the running process does not do before a restart.
pub fn needs_restart(running: &Config, file: &Config) -> Vec<String> {
    let (now, then): (&Server, &Server) = (&running.server, &file.server);
    let path = |path: &Option<std::path::PathBuf>| {
        path.as_ref().map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    };
    let user = |server: &Server| server.identity.as_ref().map_or("none".to_owned(), |identity| identity.user.clone());
    let group = |server: &Server| {
        let group = server.identity.as_ref().and_then(|identity| identity.group.clone());
        group.unwrap_or_else(|| "none".to_owned())
    };
    let pairs = [
        ("[server] workers", now.workers.to_string(), then.workers.to_string()),
        ("[server] queue", now.queue.to_string(), then.queue.to_string()),
        ("[server] slice_size", now.slice_size.to_string(), then.slice_size.to_string()),
        ("[server] drain_timeout", format!("{:?}", now.drain_timeout), format!("{:?}", then.drain_timeout)),
        (
            "[server] scheduling",
            format!("{:?}", now.scheduling).to_lowercase(),
            format!("{:?}", then.scheduling).to_lowercase(),
        ),
        ("[server] pid_file", path(&now.pid_file), path(&then.pid_file)),
        ("[server] user", user(now), user(then)),
        ("[server] group", group(now), group(then)),
        ("[log] file", log_file(&running.log.file), log_file(&file.log.file)),
    ];
    pairs
        .into_iter()
        .filter(|(_, now, then)| now != then)
        .map(|(key, now, then)| format!("{key} is {now}, and {then} in the file: restart to change it"))
        .collect()
}

fn log_file(target: &LogFile) -> String {
    match target {
        LogFile::Stderr => "stderr".to_owned(),
        LogFile::Path(path) => path.display().to_string(),
    }
}

fn listens(config: &Config) -> Vec<(&str, String)> {
    let shown = |index: Option<usize>| index.map(|index| config.pools[index].name.as_str());
    config
        .listens
        .iter()
        .map(|listen| {
            let mut rest = listen.clone();
            rest.pool = None;
            (listen.name.as_str(), format!("{rest:?} {:?}", shown(listen.pool)))
        })
        .collect()
}

/// Indices are shown as names: a pool that moved is no change of its routes.
fn routes(config: &Config) -> Vec<(&str, String)> {
    let show = |route: &Route| {
        let mut rest = route.clone();
        let listens: Vec<&str> = route.listens.iter().map(|&index| config.listens[index].name.as_str()).collect();
        rest.listens.clear();
        let pool = match route.action {
            Action::Pool(index) => {
                rest.action = Action::Pool(0);
                config.pools[index].name.as_str()
            }
            Action::Redirect { .. } | Action::Respond { .. } => "",
        };
        format!("{rest:?} {listens:?} {pool}")
    };
    config.routes.iter().map(|route| (route.name.as_str(), show(route))).collect()
}

fn pools(config: &Config) -> Vec<(&str, String)> {
    config.pools.iter().map(|pool| (pool.name.as_str(), format!("{pool:?}"))).collect()
}

fn order(config: &Config) -> Vec<&str> {
    config.routes.iter().map(|route| route.name.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_str;

    fn config(text: &str) -> Config {
        parse_str("test.ini", text, &|_| None).unwrap_or_else(|reports| panic!("{reports}")).config
    }

    #[test]
    fn sections_are_named_and_moved_pools_change_nothing() {
        let before = config(
            "[listen:http]\naddress = 127.0.0.1:1\n[route:a]\npool = p\n[route:b]\npool = p\n[pool:p]\nbackend = 127.0.0.1:3\n",
        );
        assert_eq!(summary(&before, &before), "nothing changed");
        let after = config(
            "[pool:q]\nbackend = 127.0.0.1:4\n[listen:http]\naddress = 127.0.0.1:1\n[route:a]\npool = p\n[route:c]\npool = q\n\
             [pool:p]\nbackend = 127.0.0.1:3\n[timeouts]\nidle = 5s\n",
        );
        assert_eq!(summary(&before, &after), "added route:c, pool:q; removed route:b; changed timeouts");
    }

    #[test]
    fn whom_a_listen_or_a_route_serves_is_a_part_of_it() {
        let file = |rules: &str| config(&format!("[listen:http]\naddress = 127.0.0.1:1\n{rules}"));
        let (before, after) = ("allow = 10.0.0.0/8\ndeny = 10.0.0.0/7\n", "deny = 10.0.0.0/7\n");
        assert_eq!(summary(&file(before), &file(before)), "nothing changed");
        assert_eq!(summary(&file(before), &file(after)), "changed listen:http");
        let route = "[route:a]\nrespond = 200 x\n";
        let denied = format!("{route}deny = unix\n");
        assert_eq!(summary(&file(route), &file(&denied)), "changed route:a");
        assert_eq!(summary(&file(""), &file("requests_per_second = 1\n")), "changed listen:http");
    }

    #[test]
    fn what_needs_a_restart_shows_both_values() {
        let small = "[listen:http]\naddress = 127.0.0.1:1\n";
        let file = config(&format!("{small}[server]\nworkers = 7\n"));
        assert_eq!(
            needs_restart(&config(small), &file),
            ["[server] workers is 256, and 7 in the file: restart to change it"]
        );
    }
}

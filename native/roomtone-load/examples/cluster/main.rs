//! The cost of a cluster, and what its breaks cost: `bin/cluster` with two web nodes and three media nodes on this machine.
//!
//! ```text
//! cargo run --release -p roomtone-load --example cluster -- [--part costs|delays|quiet|media|web|rolling] [--kills N] [--json FILE] [--dev] [--quick]
//! ```
//!
//! `bin/bench --cluster` builds what it needs, and keeps the results. Clients are ours, by WHIP. One that loses its media node tries
//! again every 20 ms, so the time until it hears something is that of the servers. A page takes up to a second more, because it has
//! to notice.

#![allow(clippy::disallowed_methods)] // a bench takes the time as it is

mod caller;
mod nodes;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use caller::{Caller, token};
use nodes::{Alone, Cluster, Failure};
use roomtone_load::run::{Percentiles, RunConfig, RunReport, run};
use serde_json::{Value, json};

/// More than two people of a room spread over media nodes.
const SPLIT: [(&str, &str); 1] = [("MAX_NODE_PARTICIPANTS", "2")];
const AGAIN: Duration = Duration::from_millis(20);
/// The most time that a break may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// By then the clients of a room whose web node is dead have had to leave: pages come back by themselves, WHIP clients don't.
const LINGER: Duration = Duration::from_millis(2_500);

/// How much is measured.
struct Plan {
    kills: usize,
    listeners: usize,
    seconds: u64,
    joins: usize,
    rooms: usize,
    dev: bool,
    /// One part alone.
    part: Option<String>,
}

fn main() -> ExitCode {
    let mut plan = Plan {
        kills: 10,
        listeners: 300,
        seconds: 15,
        joins: 40,
        rooms: 1_000,
        dev: false,
        part: None,
    };
    let mut file = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--kills" => match arguments.next().and_then(|text| text.parse().ok()) {
                Some(kills) => plan.kills = kills,
                None => return usage(),
            },
            "--json" => match arguments.next() {
                Some(path) => file = Some(PathBuf::from(path)),
                None => return usage(),
            },
            "--part" => match arguments.next() {
                Some(part) if ["costs", "delays", "quiet", "media", "web", "rolling"].contains(&part.as_str()) => {
                    plan.part = Some(part)
                }
                _ => return usage(),
            },
            "--dev" => plan.dev = true,
            "--quick" => {
                plan = Plan {
                    kills: 2,
                    listeners: 30,
                    seconds: 4,
                    joins: 10,
                    rooms: 100,
                    ..plan
                }
            }
            _ => return usage(),
        }
    }
    match measure(&plan, file.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: cluster [--part costs|delays|quiet|media|web|rolling] [--kills N] [--json FILE] [--dev] [--quick]"
    );
    ExitCode::from(2)
}

/// The results as they come: rows of a table, and values by the same names.
#[derive(Default)]
struct Results(serde_json::Map<String, Value>);

impl Results {
    fn tell(&mut self, name: &str, value: Value, text: &str) {
        println!("| {name} | {text} |");
        self.0.insert(name.to_owned(), value);
    }
}

fn measure(plan: &Plan, file: Option<&Path>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let folder = std::env::current_dir()?.join("tmp/bench/cluster");
    std::fs::create_dir_all(&folder)?;
    let cluster = Cluster::new(&folder, plan.dev);
    let mut results = Results::default();
    // The other parts of an earlier run stay.
    if let (Some(file), Some(_)) = (file, &plan.part)
        && let Ok(text) = std::fs::read_to_string(file)
    {
        results.0 = serde_json::from_str(&text)?;
    }
    println!("| | result |\n|---|---|");
    let measured = runtime.block_on(parts(plan, &cluster, &folder, &mut results));
    // A failure leaves the results before it.
    if let Some(file) = file {
        std::fs::write(file, serde_json::to_string_pretty(&Value::Object(results.0))?)?;
    }
    measured
}

async fn parts(plan: &Plan, cluster: &Cluster, folder: &Path, results: &mut Results) -> Result<(), Failure> {
    let wanted = |part: &str| plan.part.as_deref().is_none_or(|only| only == part);
    if wanted("costs") {
        costs(plan, cluster, results).await?;
    }
    // A part of the costs, too.
    if wanted("costs") || wanted("delays") {
        delays(plan, cluster, results).await?;
    }
    if wanted("costs") {
        ways_in(plan, cluster, folder, results).await?;
    }
    if wanted("quiet") {
        cluster.start(&SPLIT)?;
        let writes = quiet(plan, cluster)?;
        let name = format!(
            "{} quiet rooms: writes to other nodes' connections, a second and node",
            plan.rooms
        );
        let text: Vec<String> = writes
            .iter()
            .map(|(node, count)| format!("{node} {count:.1}"))
            .collect();
        results.tell(&name, json!(writes), &text.join(", "));
    }
    if wanted("media") {
        let (back, others) = media_kills(plan, cluster).await?;
        let name = format!("media node killed {} times: sound is back after", plan.kills);
        results.tell(&name, json!(back), &spread(back));
        let gap = others.longest_gap_ms.unwrap_or(0.0);
        results.tell(
            "meanwhile, on another media node: packets lost",
            json!({"lost": others.packets_lost, "received": others.packets_in, "longest_gap_ms": gap}),
            &format!(
                "{} of {}, longest gap {gap:.0} ms",
                others.packets_lost, others.packets_in
            ),
        );
    }
    if wanted("web") {
        let kills = plan.kills.div_ceil(4);
        let (back, lost, gap) = web_kills(kills, cluster).await?;
        let name = format!("web node killed {kills} times: the room takes people again after");
        results.tell(&name, json!(back), &spread(back));
        results.tell(
            "meanwhile, until WHIP clients have to leave that room: packets lost",
            json!({"lost": lost, "longest_gap_ms": gap}),
            &format!("{lost}, longest gap {gap:.0} ms"),
        );
    }
    if wanted("rolling") {
        let (tried, refused, longest) = rolling(cluster).await?;
        let longest = longest.as_secs_f64() * 1000.0;
        results.tell(
            "rolling restart of all nodes: joins refused",
            json!({"tried": tried, "refused": refused, "longest_without_ms": longest}),
            &format!("{refused} of {tried}, at most {longest:.0} ms without one that worked"),
        );
    }
    Ok(())
}

/// Many listeners on one media node, and on three.
async fn costs(plan: &Plan, cluster: &Cluster, results: &mut Results) -> Result<(), Failure> {
    let share = (plan.listeners / 3 + 1).to_string();
    let mut costs = Vec::new();
    for (nodes, more) in [(1, vec![]), (3, vec![("MAX_NODE_PARTICIPANTS", share.as_str())])] {
        cluster.start(&more)?;
        let (report, cost) = listeners(plan, cluster).await?;
        let (joined, lost) = (report.joined, report.packets_lost);
        results.tell(
            &format!("{} listeners, 3 talkers, {nodes} media nodes: CPU", plan.listeners),
            json!({"cpu_ms_a_participant_second": cost, "joined": joined, "packets_lost": lost}),
            &format!("{cost:.2} ms a participant-second ({joined} joined, {lost} packets lost)"),
        );
        costs.push(cost);
    }
    let ratio = costs[1] / costs[0];
    results.tell("3 media nodes against 1", json!(ratio), &format!("{ratio:.2} ×"));
    Ok(())
}

/// A talker on the same node as a listener, and on another one.
async fn delays(plan: &Plan, cluster: &Cluster, results: &mut Results) -> Result<(), Failure> {
    let mut delays = Vec::new();
    for (place, more) in [("the same", vec![]), ("another", vec![("MAX_NODE_PARTICIPANTS", "1")])] {
        cluster.start(&more)?;
        let heard = latency(plan, cluster).await?;
        let name = format!("latency of a talker on {place} node");
        results.tell(&name, json!(heard), &heard.to_string());
        delays.push(heard);
    }
    let (p50, p99) = (delays[1].p50 - delays[0].p50, delays[1].p99 - delays[0].p99);
    let text = format!("p50 {p50:.1} ms, p99 {p99:.1} ms");
    results.tell("added by the other node", json!({"p50": p50, "p99": p99}), &text);
    Ok(())
}

/// Joins by a web node, and at a server that is all in one.
async fn ways_in(plan: &Plan, cluster: &Cluster, folder: &Path, results: &mut Results) -> Result<(), Failure> {
    cluster.start(&SPLIT)?;
    let joined = joins(plan, cluster, &cluster.whip(1)).await?;
    results.tell("join by a web node at a media node", json!(joined), &joined.to_string());
    let alone = Alone::start(folder, &cluster.secret, plan.dev)?;
    let joined = joins(plan, cluster, &alone.whip()).await?;
    results.tell(
        "join at a server that needs no other",
        json!(joined),
        &joined.to_string(),
    );
    Ok(())
}

fn spread(times: Option<Percentiles>) -> String {
    times.map_or_else(|| "never".to_owned(), |times| times.to_string())
}

fn room() -> String {
    format!("bench-{:08x}", rand::random::<u32>())
}

fn config(cluster: &Cluster, room: &str) -> Result<RunConfig, Failure> {
    Ok(RunConfig {
        url: format!("{}/{room}", cluster.whip(1)),
        token: Some(token(&cluster.secret, room)?),
        bind: std::net::Ipv4Addr::LOCALHOST.into(),
        ..RunConfig::default()
    })
}

// CPU of all nodes while all were there, in milliseconds a participant and second.
async fn listeners(plan: &Plan, cluster: &Cluster) -> Result<(RunReport, f64), Failure> {
    let config = RunConfig {
        peers: plan.listeners + 3,
        talkers: 3,
        probes: 0,
        ears: 0,
        time: Duration::from_secs(plan.seconds),
        ..config(cluster, &room())?
    };
    let people = config.peers;
    let mut readings = Vec::new();
    let note = |progress: &roomtone_load::run::Progress| {
        if progress.joined == people {
            readings.push(cluster.cpu().map(|cpu| (Instant::now(), cpu)));
        }
    };
    let report = run(config, note, std::future::pending()).await?;
    let readings: Vec<(Instant, f64)> = readings.into_iter().collect::<Result<_, _>>()?;
    // The first is from the end of the joins.
    let [_, first, .., last] = readings.as_slice() else {
        return Err(format!("{} of {people} joined in time: {:?}", report.joined, report.failures).into());
    };
    let seconds = (last.0 - first.0).as_secs_f64();
    Ok((report, 1_000.0 * (last.1 - first.1) / seconds / people as f64))
}

// One talks, and two listen.
async fn latency(plan: &Plan, cluster: &Cluster) -> Result<Percentiles, Failure> {
    let config = RunConfig {
        peers: 2,
        talkers: 0,
        probes: 1,
        ears: 2,
        time: Duration::from_secs(2 * plan.seconds),
        ..config(cluster, &room())?
    };
    let report = run(config, |_| {}, std::future::pending()).await?;
    report
        .latency_ms
        .ok_or_else(|| format!("nothing was heard: {:?}", report.failures).into())
}

// One after the other.
async fn joins(plan: &Plan, cluster: &Cluster, whip: &str) -> Result<Percentiles, Failure> {
    let room = room();
    let token = token(&cluster.secret, &room)?;
    let mut times = Vec::new();
    for _ in 0..plan.joins {
        let start = Instant::now();
        let caller = Caller::join(&format!("{whip}/{room}"), &token).await?;
        times.push(start.elapsed());
        caller.leave().await;
    }
    Percentiles::of(times).ok_or_else(|| "no joins".into())
}

// Writes of each node to its connections with the others while nothing happens. One may hold several messages.
fn quiet(plan: &Plan, cluster: &Cluster) -> Result<Vec<(String, f64)>, Failure> {
    let seconds = plan.seconds;
    let code = format!(
        r##"
        nodes = for name <- ~w(web1 web2 media1 media2 media3), do: :"#{{name}}@127.0.0.1"
        web = hd(nodes)
        {{:ok, _}} = :rpc.call(web, Roomtone, :open_room, ["quiet-0"])
        for n <- 1..{rooms}, do: :rpc.call(web, Roomtone, :open_room, ["quiet-#{{n}}"])
        sent = fn node ->
          for {{other, port}} <- :rpc.call(node, :erlang, :system_info, [:dist_ctrl]), other in nodes, reduce: 0 do
            sum ->
              {{:ok, [send_cnt: count]}} = :rpc.call(node, :inet, :getstat, [port, [:send_cnt]])
              sum + count
          end
        end
        Process.sleep(2_000)
        before = Enum.map(nodes, sent)
        Process.sleep({seconds} * 1_000)
        for {{node, first}} <- Enum.zip(nodes, before), do: IO.puts("sent #{{node}} #{{(sent.(node) - first) / {seconds}}}")
        "##,
        rooms = plan.rooms - 1,
    );
    let mut counts = Vec::new();
    for line in cluster
        .elixir(&code)?
        .lines()
        .filter_map(|line| line.strip_prefix("sent "))
    {
        let (node, count) = line.split_once(' ').ok_or("an answer without a count")?;
        counts.push((node.trim_end_matches("@127.0.0.1").to_owned(), count.parse()?));
    }
    Ok(counts)
}

// Two people on the room's first media node talk all the while; a third, on another node, loses it again and again.
async fn media_kills(plan: &Plan, cluster: &Cluster) -> Result<(Option<Percentiles>, RunReport), Failure> {
    cluster.start(&SPLIT)?;
    let room = room();
    let (url, token) = (format!("{}/{room}", cluster.whip(1)), token(&cluster.secret, &room)?);
    // The room opens on its home, and stays there.
    let first = Caller::join(&url, &token).await?;
    let home = media_of(cluster, &first)?;
    first.leave().await;
    let others = Pair::talk(config(cluster, &room)?);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut times = Vec::new();
    let mut caller = Caller::join(&url, &token).await?;
    for _ in 0..plan.kills {
        let start = Instant::now();
        // A node that sheds load takes nobody of another.
        while media_of(cluster, &caller)? == home {
            if start.elapsed() > PATIENCE {
                return Err("the other media nodes have too much to do: this machine is too busy".into());
            }
            caller.leave().await;
            tokio::time::sleep(Duration::from_millis(500)).await;
            caller = Caller::join(&url, &token).await?;
        }
        if !caller.hear_after(Instant::now(), start + PATIENCE).await? {
            return Err("no sound before a media node was killed".into());
        }
        let media = media_of(cluster, &caller)?;
        cluster.kill(&media)?;
        let killed = Instant::now();
        drop(caller);
        caller = loop {
            if let Ok(mut caller) = Caller::join(&url, &token).await
                && caller
                    .hear_after(killed, Instant::now() + Duration::from_secs(2))
                    .await?
            {
                break caller;
            }
            if killed.elapsed() > PATIENCE {
                return Err(format!("no sound after {media} was killed").into());
            }
            tokio::time::sleep(AGAIN).await;
        };
        times.push(killed.elapsed());
        cluster.start_again(&media, &SPLIT)?;
    }
    caller.leave().await;
    Ok((Percentiles::of(times), others.leave_after_all().await?))
}

/// Two people who talk and listen until they are told to leave.
struct Pair {
    stop: tokio::sync::oneshot::Sender<()>,
    running: tokio::task::JoinHandle<Result<RunReport, roomtone_load::run::RunError>>,
}

impl Pair {
    fn talk(config: RunConfig) -> Pair {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let config = RunConfig {
            peers: 2,
            talkers: 2,
            probes: 0,
            ears: 2,
            time: Duration::from_secs(3_600),
            ..config
        };
        let leave = async { _ = stopped.await };
        let running = tokio::spawn(async move { run(config, |_| {}, leave).await });
        Pair { stop, running }
    }

    /// An error if they didn't both join.
    async fn leave(self) -> Result<RunReport, Failure> {
        let _ = self.stop.send(());
        let report = self.running.await??;
        if report.joined == 2 {
            return Ok(report);
        }
        Err(format!("{} of two people joined: {:?}", report.joined, report.failures).into())
    }

    /// An error if one wasn't there all the time, too: packets that nobody was there to receive aren't lost in the count.
    async fn leave_after_all(self) -> Result<RunReport, Failure> {
        let report = self.leave().await?;
        if report.thrown_out.is_empty() {
            return Ok(report);
        }
        Err(format!("thrown out: {:?}", report.thrown_out).into())
    }
}

fn media_of(cluster: &Cluster, caller: &Caller) -> Result<String, Failure> {
    let media = cluster.media_of(&caller.session.answer);
    media.ok_or_else(|| "an answer without the port of a media node".into())
}

// The web node that has the room is killed, and somebody joins the room by the other one.
async fn web_kills(kills: usize, cluster: &Cluster) -> Result<(Option<Percentiles>, i64, f64), Failure> {
    cluster.start(&SPLIT)?;
    let (mut times, mut lost, mut gap) = (vec![], 0, 0.0_f64);
    for _ in 0..kills {
        let room = room();
        let home = cluster.call("web1", &format!("Roomtone.Cluster.Control.node_of(\"{room}\")"))?;
        let (home, other) = if home.starts_with("web1") {
            ("web1", 2)
        } else {
            ("web2", 1)
        };
        let people = Pair::talk(config(cluster, &room)?);
        tokio::time::sleep(Duration::from_secs(2)).await;
        cluster.kill(home)?;
        let killed = Instant::now();
        let (url, token) = (
            format!("{}/{room}", cluster.whip(other)),
            token(&cluster.secret, &room)?,
        );
        let back = loop {
            if let Ok(caller) = Caller::join(&url, &token).await {
                let back = killed.elapsed();
                caller.leave().await;
                break back;
            }
            if killed.elapsed() > PATIENCE {
                return Err(format!("nobody gets into the room after {home} was killed").into());
            }
            tokio::time::sleep(AGAIN).await;
        };
        times.push(back);
        tokio::time::sleep(LINGER.saturating_sub(killed.elapsed())).await;
        let report = people.leave().await?;
        lost += report.packets_lost;
        gap = gap.max(report.longest_gap_ms.unwrap_or(0.0));
        cluster.start_again(home, &SPLIT)?;
    }
    Ok((Percentiles::of(times), lost, gap))
}

// Somebody joins a room of their own every quarter of a second, by whichever web node answers, while all nodes restart one after another.
async fn rolling(cluster: &Cluster) -> Result<(usize, usize, Duration), Failure> {
    cluster.start(&[])?;
    let (mut tried, mut refused) = (0, 0);
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    let restart = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let nodes = ["media1", "media2", "media3", "web1", "web2"];
            let restarting = scope.spawn(move || nodes.into_iter().try_for_each(|node| cluster.restart(node)));
            let handle = tokio::runtime::Handle::current();
            while !restarting.is_finished() {
                let joined: Result<(), Failure> = handle.block_on(async {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                    let room = room();
                    let token = token(&cluster.secret, &room)?;
                    let first = Caller::join(&format!("{}/{room}", cluster.whip(1)), &token).await;
                    let caller = match first {
                        Ok(caller) => caller,
                        Err(_) => Caller::join(&format!("{}/{room}", cluster.whip(2)), &token).await?,
                    };
                    caller.leave().await;
                    Ok(())
                });
                tried += 1;
                refused += usize::from(joined.is_err());
                longest = longest.max(last.elapsed());
                if joined.is_ok() {
                    last = Instant::now();
                }
            }
            restarting.join()
        })
    });
    restart.map_err(|_| "the restart panicked")??;
    Ok((tried, refused, longest))
}

//! The thread on which all participants live: reads, times, talks and listens.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::line::Line;
use super::member::{Beep, Member, Mode, Text};
use super::port::{Batch, Incoming, Port, SHARED_BY};
use super::{Command, Joined, Newcomer, Window};
use crate::bench::lines::Company;
use roomtone_testkit::peer::Stats;

/// How often sockets are read while somebody is joining, and else.
const JOINING_PERIOD: Duration = Duration::from_millis(1);
const STEADY_PERIOD: Duration = Duration::from_millis(5);

/// A line has no note of when a packet arrived, so one at whose end somebody listens closely is read often.
const LISTENING_PERIOD: Duration = Duration::from_millis(1);

/// A socket or connection of participants.
enum Outlet {
    /// A socket, of several participants maybe.
    Port(Port),
    /// A connection of one.
    Line(Box<Line>),
}

impl Outlet {
    fn send(&mut self, from: Option<IpAddr>, to: SocketAddr, data: &[u8]) {
        match self {
            Outlet::Port(port) => port.send(from, to, data),
            Outlet::Line(line) => line.send(to, data),
        }
    }
}

pub(super) struct Floor {
    shared: bool,
    bind: IpAddr,
    outlets: Vec<Outlet>,
    /// When all lines are read next, not only those of close listeners.
    lines_due: Instant,
    /// There are lines with close listeners.
    listening: bool,
    /// Of each outlet: who is on it.
    seats: Vec<Vec<usize>>,
    members: Vec<Member>,
    talkers: Vec<usize>,
    /// By number: when the newest beep was sent.
    beeped: Vec<Option<Beep>>,
    /// When the conversation begins.
    begin: Option<Instant>,
    /// Of the latencies at all ears: those of beeps with nobody beside, and with somebody.
    alone: Vec<Duration>,
    together: Vec<Duration>,
    timers: BinaryHeap<Reverse<(Instant, usize)>>,
    mode: Mode,
    joining: usize,
    packets_in: u64,
    packets_out: u64,
    batch: Batch,
}

impl Floor {
    /// On loopback, participants share sockets; elsewhere each has one on `bind`.
    pub fn new(shared: bool, bind: IpAddr) -> Floor {
        Floor {
            shared,
            bind: if shared { Ipv4Addr::UNSPECIFIED.into() } else { bind },
            outlets: Vec::new(),
            lines_due: Instant::now(),
            listening: false,
            seats: Vec::new(),
            members: Vec::new(),
            talkers: Vec::new(),
            beeped: Vec::new(),
            begin: None,
            alone: Vec::new(),
            together: Vec::new(),
            timers: BinaryHeap::new(),
            mode: Mode::Talk,
            joining: 0,
            packets_in: 0,
            packets_out: 0,
            batch: Batch::default(),
        }
    }

    /// Goes on until whoever holds the other end lets go.
    pub fn run(mut self, commands: &Receiver<Command>) {
        loop {
            loop {
                match commands.try_recv() {
                    Ok(command) => self.obey(command),
                    Err(TryRecvError::Empty) => break,
                    Err(TryRecvError::Disconnected) => return,
                }
            }
            self.read();
            let now = Instant::now();
            self.timeouts(now);
            self.talk();
            let period = if self.joining > 0 {
                JOINING_PERIOD
            } else if self.listening {
                LISTENING_PERIOD
            } else {
                STEADY_PERIOD
            };
            let due = self.next_due().unwrap_or(now + period).min(now + period);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Join(newcomer, joined) => self.join(*newcomer, joined),
            Command::Mode(mode) => self.mode = mode,
            Command::Begin(at) => self.begin = Some(at),
            Command::Say { number, packets, done } => {
                if let Some(member) = self.members.iter_mut().find(|member| member.number == number) {
                    let (at, done) = (0, Some(done));
                    member.text = Some(Text { packets, at, done });
                }
            }
            Command::Forget => {
                for listening in self.members.iter_mut().filter_map(|member| member.listening.as_mut()) {
                    listening.sound.ear.clear();
                }
            }
            Command::Heard { number, seconds, reply } => {
                let member = self.members.iter().find(|member| member.number == number);
                let listening = member.and_then(|member| member.listening.as_ref());
                let _ = reply.send(listening.map(|l| l.sound.ear.recent(seconds)).unwrap_or_default());
            }
            Command::Mark => self.mark(),
            Command::Take(reply) => {
                let _ = reply.send(self.window());
            }
            Command::Leave(reply) => self.leave(reply),
        }
    }

    fn join(&mut self, newcomer: Newcomer, joined: Joined) {
        let Newcomer {
            number,
            mut client,
            answer,
            line,
            offered,
            script,
            watches,
        } = newcomer;
        self.listening |= line.is_some() && watches.is_some();
        let alone = line.is_some();
        let (port, place) = match self.seat(line) {
            Ok(seat) => seat,
            Err(error) => {
                let _ = joined.send(Err(format!("no media socket: {error}")));
                return;
            }
        };
        let now = Instant::now();
        if let Err(error) = client.accept_answer(now, &answer) {
            let _ = joined.send(Err(error.to_string()));
            return;
        }
        let address = (self.shared && !alone).then(|| Port::address_of(place));
        let mut member = Member::new(number, client, (port, address), offered);
        member.script = script;
        member.listening = watches.map(super::ear::Listening::new);
        member.joined = Some(joined);
        let index = self.members.len();
        if member.script.is_some() {
            self.talkers.push(index);
        }
        self.members.push(member);
        self.seats[port].push(index);
        self.joining += 1;
        self.settle(index);
    }

    /// An outlet, and a place on it.
    fn seat(&mut self, line: Option<Line>) -> io::Result<(usize, usize)> {
        let most = match self.outlets.last() {
            Some(Outlet::Port(_)) if self.shared => SHARED_BY,
            _ => 1,
        };
        if let Some(line) = line {
            self.outlets.push(Outlet::Line(Box::new(line)));
            self.seats.push(Vec::new());
        } else if self.seats.last().is_none_or(|seats| seats.len() >= most) {
            self.outlets.push(Outlet::Port(Port::open(self.bind)?));
            self.seats.push(Vec::new());
        }
        let port = self.outlets.len() - 1;
        Ok((port, self.seats[port].len()))
    }

    fn read(&mut self) {
        let mut touched = Vec::new();
        let mut heard = Vec::new();
        let now = Instant::now();
        let all = self.joining > 0 || now >= self.lines_due;
        if all {
            self.lines_due = now + STEADY_PERIOD;
        }
        for (outlet, seats) in self.outlets.iter_mut().zip(&self.seats) {
            let members = &mut self.members;
            if let (Outlet::Line(_), [index]) = (&*outlet, &seats[..])
                && !all
                && members[*index].listening.is_none()
            {
                continue;
            }
            let shared = self.shared && matches!(outlet, Outlet::Port(_));
            let (mut packets, mut settled) = (0, 0);
            let take = |incoming: Incoming<'_>| {
                let place = if shared {
                    incoming.to.and_then(Port::place_of)
                } else {
                    Some(0)
                };
                let Some(index) = place.and_then(|place| seats.get(place)).copied() else {
                    return;
                };
                let is_rtp = matches!(incoming.data, [128..=191, kind, ..] if !(192..=223).contains(kind));
                let member = &mut members[index];
                member.client.handle_datagram(incoming.at, incoming.from, incoming.data);
                let mut audio = Vec::new();
                let news = member.drain(incoming.at, &mut audio);
                packets += news.packets;
                settled += usize::from(news.settled);
                heard.extend(audio.into_iter().map(|audio| (index, incoming.at, audio)));
                // Sound asks for nothing: neither for an answer nor for another time.
                if !is_rtp && touched.last() != Some(&index) {
                    touched.push(index);
                }
            };
            match outlet {
                Outlet::Port(port) => port.receive(&mut self.batch, take),
                Outlet::Line(line) => line.receive(take),
            }
            self.packets_in += packets;
            self.joining -= settled;
        }
        for (index, at, audio) in heard {
            if let Some(mut listening) = self.members[index].listening.take() {
                let known = listening.latencies.len();
                let beeped = |talker: usize| Some(self.beeped.get(talker).copied().flatten()?.at);
                listening.packet(at, &audio, beeped);
                for late in &listening.latencies[known..] {
                    let heard = |beep: &&Beep| at.saturating_duration_since(beep.at) == *late;
                    match self.beeped.iter().flatten().find(heard).map(|beep| beep.company) {
                        Some(Company::Alone) => self.alone.push(*late),
                        Some(Company::Together) => self.together.push(*late),
                        Some(Company::Unknown) | None => {}
                    }
                }
                self.members[index].listening = Some(listening);
            }
        }
        for index in touched {
            self.settle(index);
        }
    }

    /// After anything was done with a member: sends what its client wants to send, and knows when it wants to be called.
    fn settle(&mut self, index: usize) {
        let member = &mut self.members[index];
        while let Some((to, data)) = member.client.poll_transmit() {
            self.outlets[member.port].send(member.address, to, &data);
        }
        let wanted = member.client.poll_timeout();
        if let Some(at) = wanted.filter(|at| member.wake.is_none_or(|wake| *at < wake)) {
            member.wake = Some(at);
            self.timers.push(Reverse((at, index)));
        }
    }

    fn timeouts(&mut self, now: Instant) {
        while let Some(Reverse((at, index))) = self.timers.peek().copied().filter(|timer| timer.0.0 <= now) {
            self.timers.pop();
            let member = &mut self.members[index];
            // An earlier one has come between.
            if member.wake != Some(at) {
                continue;
            }
            member.wake = None;
            if member.client.poll_timeout().is_some_and(|at| at <= now) {
                member.client.handle_timeout(now);
                let news = member.drain(now, &mut Vec::new());
                self.joining -= usize::from(news.settled);
            }
            self.settle(index);
        }
    }

    fn talk(&mut self) {
        for place in 0..self.talkers.len() {
            let index = self.talkers[place];
            let now = Instant::now();
            let member = &mut self.members[index];
            if member.next_talk.is_some_and(|at| at <= now) {
                let (sent, beep) = member.talk(now, self.mode, self.begin);
                self.packets_out += sent;
                if beep.is_some() {
                    let number = member.number;
                    self.beeped.resize(self.beeped.len().max(number + 1), None);
                    self.beeped[number] = beep;
                }
                while let Some((to, data)) = member.client.poll_transmit() {
                    self.outlets[member.port].send(member.address, to, &data);
                }
            }
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let talk = self
            .talkers
            .iter()
            .filter_map(|index| self.members[*index].next_talk)
            .min();
        let timer = self.timers.peek().map(|timer| timer.0.0);
        [talk, timer].into_iter().flatten().min()
    }

    fn mark(&mut self) {
        (self.packets_in, self.packets_out) = (0, 0);
        self.alone.clear();
        self.together.clear();
        for member in &mut self.members {
            member.baseline = member.client.stats();
            if let Some(listening) = &mut member.listening {
                listening.reset();
            }
        }
    }

    fn window(&self) -> Window {
        let mut window = Window {
            packets_in: self.packets_in,
            packets_out: self.packets_out,
            alone: self.alone.clone(),
            together: self.together.clone(),
            ..Window::default()
        };
        let lost = |stats: &Stats| stats.streams.iter().map(|stream| stream.lost).sum::<i64>();
        for member in &self.members {
            let stats = member.client.stats();
            window.lost += lost(&stats) - lost(&member.baseline);
            window.rejected += stats.rejected - member.baseline.rejected;
            let ended = member
                .ended
                .as_ref()
                .map(|why| format!("participant {}: {why}", member.number + 1));
            window.ended.extend(ended);
            if let Some(listening) = &member.listening {
                let (heard, late) = listening.late();
                window.heard += heard;
                window.late += late;
                window.undecodable += listening.sound.undecodable;
                window.latencies.extend(&listening.latencies);
            }
        }
        window
    }

    fn leave(&mut self, reply: oneshot::Sender<()>) {
        let now = Instant::now();
        for index in 0..self.members.len() {
            self.members[index].client.close(now);
            let news = self.members[index].drain(now, &mut Vec::new());
            self.joining -= usize::from(news.settled);
            self.settle(index);
        }
        let _ = reply.send(());
    }
}

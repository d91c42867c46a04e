// The page of rooms.py. A line stays in `unsaid` until it has come back from the server. Whatever happens to the
// connection meanwhile, it is said again with the same id, and the server knows which lines it has.

const MOST = 500              // lines on the page
const LONGEST_PAUSE = 30_000  // milliseconds between two attempts to connect
const SILENCE = 50_000        // the server says something every 20 s; if it does not, the connection has died
const UNANSWERED = 10_000     // so long a line may take to come back
const KEPT = 100              // lines that the server keeps
const REFUSED = 1008          // the close code for what would be refused the next time too
const REASONS = {1001: "the server stops", 1012: "the server restarts", 1013: "the server is busy"}

const $ = id => document.getElementById(id)

const page = kept("page", hex(8))     // of this tab: who comes back is not counted twice
const mark = kept("mark", hex(4))     // how the ids of its lines begin, so that they are known after a reload
let unsaid = kept("unsaid", [])       // lines as {id, room, text, since}, oldest first
let last = ""                         // number of the line up to which none is missing
let asked = 0                         // how many times it has asked for lines and not got them yet
let away = false                      // whether the server has said that Redis is
let socket = null, failures = 0, next = 0, silence = 0

// ---- what outlives a reload of the page

function kept(name, otherwise) {
    const value = JSON.parse(sessionStorage.getItem(name) ?? "null") ?? otherwise
    keep(name, value)
    return value
}

function hex(bytes) {
    const random = crypto.getRandomValues(new Uint8Array(bytes))
    return Array.from(random, byte => byte.toString(16).padStart(2, "0")).join("")
}

function keep(name, value) {
    sessionStorage.setItem(name, JSON.stringify(value))
}

// ---- the connection

function connect() {
    hang_up()
    show("wait", "connecting …")
    const query = new URLSearchParams({name: $("name").value.trim(), page})
    const url = new URL(`room/${room()}?${query}`, location.href.split("#")[0])
    url.protocol = url.protocol.replace("http", "ws")
    const mine = socket = new WebSocket(url)
    // A socket that was given up may still have events; they mean nothing any more.
    socket.onopen = () => mine === socket && opened()
    socket.onmessage = event => mine === socket && heard(JSON.parse(event.data))
    socket.onclose = event => mine === socket && closed(event)
    alive()
}

function hang_up() {
    clearTimeout(next)
    clearTimeout(silence)
    const old = socket
    socket = null
    old?.close()
}

function opened() {
    away = false
    asked = 0
    catch_up()
}

function catch_up() {
    tell({after: last})
    asked++
    unsaid.filter(here).forEach(say)
    state()
}

function closed(event) {
    hang_up()
    if (event.code === REFUSED) return at_the_door(event.reason)
    // The first attempt comes soon, but not all pages of a worker come in the same moment.
    const pause = Math.random() * Math.min(LONGEST_PAUSE, 500 * 2 ** failures++)
    const until = Date.now() + pause
    const count = () => {
        const left = until - Date.now()
        if (left <= 0) return connect()
        const when = left > 1500 ? ` in ${Math.ceil(left / 1000)} s` : ""
        show("closed", `${REASONS[event.code] ?? "no connection"}; trying again${when}`)
        next = setTimeout(count, Math.min(left, 1000))
    }
    count()
}

function alive() {
    clearTimeout(silence)
    silence = setTimeout(() => closed({code: 1006}), SILENCE)
}

function tell(message) {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message))
}

function say(line) {
    line.since = Date.now()
    tell({id: line.id, text: line.text})
}

setInterval(() => {
    const oldest = unsaid.find(here)
    if (!away && socket?.readyState === WebSocket.OPEN && oldest?.since < Date.now() - UNANSWERED) closed({code: 1006})
}, 1000)

addEventListener("online", () => socket === null && !$("inside").hidden && connect())

// ---- what is heard

function heard(message) {
    alive()
    failures = 0
    if ("away" in message) {
        away = message.away
        return away ? state() : catch_up()
    }
    if (message.here) {
        list(message)
        if (away) { // it answers
            away = false
            catch_up()
        }
    } else if (message.lines) {
        if (last && message.lines.length === KEPT) gap()
        message.lines.forEach(add)
        if (--asked === 0) last = [...$("lines").children].findLast(numbered)?.id ?? last
    } else add(message)
}

function list({here: names, count}) {
    $("here").replaceChildren(...names.map(name => element("li", {textContent: name, style: hue(name)})))
    const more = count - names.length
    if (more > 0) $("here").append(element("li", {className: "more", textContent: `and ${more} more`}))
}

// ---- lines

// What comes again is shown once; what comes late has its place by its number.
function add({number, id, name, text}) {
    unsaid = unsaid.filter(line => line.id !== id)
    keep("unsaid", unsaid)
    if ($(number)) return
    const time = new Date(parseInt(number))
    const line = element("li", {id: number, className: id.startsWith(mark) ? "mine" : ""},
        element("b", {textContent: name, style: hue(name)}),
        text, // becomes a text node: nothing in it is markup
        element("time", {dateTime: time.toISOString(), textContent: time.toLocaleTimeString([], {timeStyle: "short"})}))
    follow(() => {
        $(`unsaid ${id}`)?.remove()
        place(line, other => other.className === "gap" || older(other.id, number))
        while ($("lines").children.length > MOST) $("lines").firstElementChild.remove()
    })
    if (asked === 0 && older(last, number)) last = number // else one before it may still come
}

function gap() {
    const line = element("li", {className: "gap", textContent: "some lines are missing here"})
    follow(() => place(line, numbered))
}

function numbered(line) {
    return /^[0-9]/.test(line.id)
}

// Below the last line for which that is true.
function place(line, above) {
    const other = [...$("lines").children].findLast(above)
    other ? other.after(line) : $("lines").prepend(line)
}

// By milliseconds, then by the count within one.
function older(one, other) {
    const [[a, b], [c, d]] = [one, other].map(number => number.split("-").map(Number))
    return one === "" || a < c || a === c && b < d
}

// Stay at the end for who was there.
function follow(change) {
    const box = $("lines"), there = box.scrollHeight - box.scrollTop - box.clientHeight < 40
    change()
    if (there) box.scrollTop = box.scrollHeight
}

function element(kind, properties, ...children) {
    const made = Object.assign(document.createElement(kind), properties)
    made.append(...children)
    return made
}

function hue(name) {
    return `--hue: ${[...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt()) % 360, 7)}`
}

function show_unsaid(line) {
    $("lines").append(element("li", {id: `unsaid ${line.id}`, className: "mine unsaid"}, line.text))
}

// ---- what the user does

$("text").value = kept("draft", "")
$("text").oninput = () => keep("draft", $("text").value)
$("text").onkeydown = event => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault()
        $("say").requestSubmit()
    }
}

$("say").onsubmit = event => {
    event.preventDefault()
    const text = $("text").value.trim()
    if (!text) return
    const line = {id: mark + hex(4), room: room(), text}
    unsaid.push(line)
    keep("unsaid", unsaid)
    show_unsaid(line)
    $("lines").scrollTop = $("lines").scrollHeight
    say(line)
    $("text").value = ""
    keep("draft", "")
    $("text").focus()
}

$("door").onsubmit = event => {
    event.preventDefault()
    localStorage.setItem("name", $("name").value.trim())
    history.replaceState(null, "", `#${$("place").value}`)
    enter()
}

$("leave").onclick = event => {
    event.preventDefault()
    hang_up()
    history.replaceState(null, "", location.pathname)
    at_the_door()
}

onhashchange = enter

function room() {
    return location.hash.match(/^#([\w-]{1,30})$/)?.[1].toLowerCase() ?? ""
}

function here(line) {
    return line.room === room()
}

function enter() {
    if (!room() || !$("name").value.trim()) return at_the_door()
    $("door").hidden = true
    $("inside").hidden = false
    $("title").textContent = document.title = `#${room()}`
    $("here").replaceChildren()
    $("lines").replaceChildren()
    unsaid.filter(here).forEach(show_unsaid)
    last = ""
    failures = 0
    connect()
    $("text").focus()
}

function at_the_door(why = "") {
    hang_up()
    $("inside").hidden = true
    $("door").hidden = false
    $("refused").textContent = why
    document.title = "rooms"
    $("name").focus()
}

function state() {
    away ? show("wait", "connected, but Redis is away; lines wait here") : show("open", "connected")
}

function show(is, text) {
    $("state").dataset.is = is
    if ($("state").textContent !== text) $("state").textContent = text
}

$("name").value = localStorage.getItem("name") ?? ""
$("place").value = room() || "tea"
enter()

// Strings to tokenize: generated, the same on every run.

/** A small seeded generator (mulberry32): the strings must not change between the two sides of a comparison. */
function seeded(seed) {
    return () => {
        seed = (seed + 0x6d2b79f5) | 0;
        let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
}

const sentences = [
    "The kettle was already singing when Ada came down the stairs.",
    "It's what we'd hoped they'll say; I'm sure you've heard he'd DON'T, CAN'T, WE'RE.",
    "Der Fluß trägt Äpfel über die Brücke nach Köln.",
    "L'été où Noël arriva trop tôt, l'élève mangea un œuf à la coque.",
    "El pingüino añejo pidió jalapeños en la cigüeña.",
    "Zażółć gęślą jaźń, a potem wróć do łodzi.",
    "Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Tiếng Việt có dấu thanh điệu trên nhiều chữ cái.",
    "İstanbul'da ılık bir öğle; şeftali ağacı çiçek açtı.",
    "Съешь ещё этих мягких французских булок да выпей чаю.",
    "Ґанок, їжак і є ще щось українською.",
    "Η γάτα κοιμάται στο παράθυρο, ενώ έξω βρέχει.",
    "في الصباح شربتُ القهوةَ ثم خرجتُ إلى السوق.",
    "بچه‌ها در باغ بازی می‌کنند.",
    "הילדה קראה סֵפֶר ליד החלון.",
    "आज सुबह मैंने चाय पी और किताब पढ़ी।",
    "আমি বাংলায় গান গাই।",
    "ਸਤ ਸ੍ਰੀ ਅਕਾਲ, ਤੁਸੀਂ ਕਿਵੇਂ ਹੋ?",
    "நான் இன்று ஒரு கதை எழுதினேன்.",
    "నేను ఈ రోజు పుస్తకం చదివాను.",
    "ಕನ್ನಡ ಭಾಷೆ ಸುಂದರವಾಗಿದೆ.",
    "മലയാളം ഒരു ദ്രാവിഡ ഭാഷയാണ്.",
    "මම සිංහල ඉගෙන ගන්නවා.",
    "ฉันดื่มกาแฟตอนเช้าแล้วเดินไปตลาดน้ำ",
    "ຂ້ອຍມັກກິນເຂົ້າຫນຽວ",
    "မြန်မာစာကို လေ့လာနေသည်။",
    "ខ្ញុំរៀនភាសាខ្មែរ។",
    "ཁྱེད་རང་གི་མཚན་ལ་ག་རེ་ཟེར་གྱི་ཡོད།",
    "今天早上我喝了一杯茶,然后去市場買菜。",
    "昨日はカフェでコーヒーを飲みながら、ひらがなを練習した。ｶﾀｶﾅ半角。",
    "오늘 아침에 커피를 마시고 시장에 갔습니다.",
    "ქართული ანბანი ლამაზია.",
    "Հայերենը հնդեվրոպական լեզու է։",
    "አማርኛ መማር እፈልጋለሁ።",
    "ᏣᎳᎩ ᎦᏬᏂᎯᏍᏗ",
    "Монгол хэл ᠮᠣᠩᠭᠣᠯ ᠬᠡᠯᠡ",
    "ߒߞߏ ߞߊ߲ ⵜⴰⵎⴰⵣⵉⵖⵜ 𐤀𐤁 𒀀𒁀 𓀀𓂀",
    "ﬁne ﬂow ＦＵＬＬ ｗｉｄｔｈ ℌ𝔢𝕝𝕝𝖔 ①②③ Ⅳ ½ ² Å Ω Ǆ ǅ ſ ẞ",
];

const code = [
    "fn main() {\n    let v: Vec<u8> = (0..10).map(|x| x * 2).collect();\n    println!(\"{v:?}\");\n}\n",
    "def f(x, *args, **kw):\n\treturn {k: v for k, v in kw.items() if v is not None}  # comment\n",
    "for(let i=0;i<n;++i){a[i]=b[i]??0;if(!a[i])continue;}",
    "SELECT id, COUNT(*) FROM t WHERE a >= 3 AND b LIKE '%x_%' GROUP BY 1;\r\n",
    "<div class=\"a b\">\n  <a href='#'>&nbsp;x</a>\n\n</div>",
    "{\"key\": [1, 2.5e-3, null, true], \"s\": \"\\u00e9\\n\"}",
    "#include <stdio.h>\nint main(void){printf(\"%d\\n\",0x7fff);return 0;}",
    "if [ -f \"$HOME/.rc\" ]; then . ~/.rc && echo \"${PATH//:/\\n}\"; fi",
    "const re=/^(?:\\s*[a-z_$][\\w$]*)+?$/giu;",
    "        public static final int MAX_VALUE=Integer.MAX_VALUE;//////////",
    "a=b+c-d*e/f%g^h&i|j~k!l?m:n;o<<p>>q==r!=s<=t>=u&&v||w",
    "https://example.org/a/b?c=d&e=%20f#g-h_i user.name+tag@example.co.uk C:\\Users\\x\\y",
    "```python\nprint('hi')\n```\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n",
    "\\begin{equation} \\frac{a}{b} = \\sum_{i=0}^{n} x_i^2 \\end{equation}",
    "=== --- *** ___ ... !!! ??? ((([[[{{{}}}]]]))) <<<>>> ### @@@ $$$ ~~~ ```",
];

const emoji = [
    "😀", "🙂‍↔️", "👩‍💻", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "🇩🇪", "🇯🇵🇫🇷", "👍🏽", "🧑🏿‍🤝‍🧑🏻", "❤️", "❤️‍🔥", "1️⃣", "#️⃣", "☎️", "✈︎",
    "🫠", "🪿", "🫩", "🤌🏼", "🐻‍❄️", "👁️‍🗨️", "™️", "↗️", "⏏️", "〰️", "㊗️", "🀄", "🃏", "🆗",
];

const lookAlikes = [
    "<s>", "</s>", "<unk>", "<pad>", "<bos>", "<eos>", "<mask>", "<start_of_turn>", "<end_of_turn>", "<|im_start|>",
    "<|im_end|>", "<|endoftext|>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>",
    "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|turn>", "<turn|>", "<|tool_call>", "<tool_call|>",
    "<|tool_response>", "<|channel>", "<channel|>", "<|think|>", "<|\"|>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]",
    "[INST]", "[/INST]", "<<SYS>>", "<tool_call>", "</tool_call>", "<think>", "</think>", "<repo_name>", "<reponame>",
    "<file_sep>", "<jupyter_code>", "<0x0A>", "<0x41>", "<0xFF>", "<unused0>", "<unused98>", "[multimodal]", "[PAD151700]",
    "<|reserved_special_token_7|>", "<|placeholder3|>", "<|image|>", "<im", "_start|>", "<|", "|>", "<|im_start|", "<||>",
    "< s >", "<S>", "</s", "s>", "<|IM_END|>", "<|im_end|>\n", "▁", "▁▁", "▁the", "##ing", "Ġthe", "Ċ", "[unused5]", "<table>",
    "</h1>", "<br>", "<i>", "</code>",
];

const spaces = [
    " ", "  ", "   ", "\t", "\n", "\r\n", "\r", "\u00a0", "\u3000", "\u2003", "\u200b", "\u2028", "\u2029", "\u0085", "\v", "\f",
    "\ufeff", "\u202f", "\u1680", "\u00ad", "\u2060", "\u180e", "\u061c", "\u200e", "\u200f", "\u202e", "\u001f", "\u0000",
];

const scripts = [
    [0x20, 0x7e], [0xa0, 0x17f], [0x180, 0x24f], [0x250, 0x2ff], [0x370, 0x3ff], [0x400, 0x52f], [0x530, 0x5ff], [0x600, 0x6ff],
    [0x700, 0x7ff], [0x900, 0x97f], [0x980, 0xdff], [0xe00, 0xeff], [0xf00, 0xfff], [0x1000, 0x109f], [0x10a0, 0x10ff],
    [0x1200, 0x137f], [0x13a0, 0x13ff], [0x1780, 0x17ff], [0x1e00, 0x1fff], [0x2000, 0x206f], [0x2070, 0x218f], [0x2190, 0x2bff],
    [0x2e80, 0x2fff], [0x3000, 0x30ff], [0x3100, 0x33ff], [0x3400, 0x4dbf], [0x4e00, 0x9fff], [0xa000, 0xabff], [0xac00, 0xd7a3],
    [0xf900, 0xfaff], [0xfb00, 0xfdff], [0xfe00, 0xfe6f], [0xff00, 0xffef], [0x10000, 0x103ff], [0x10400, 0x10fff],
    [0x11000, 0x11fff], [0x12000, 0x12fff], [0x1d400, 0x1d7ff], [0x1f000, 0x1faff], [0x20000, 0x2a6df], [0x2f800, 0x2fa1f],
    [0xe000, 0xf8ff], [0xe0000, 0xe01ef], [0x30000, 0x10ffff],
];

/** About 2,600 different strings; `own` are texts of special tokens of the vocabulary at hand. */
export function strings(own) {
    const random = seeded(20260928);
    const below = (n) => Math.floor(random() * n);
    const pick = (list) => list[below(list.length)];
    const many = (n, make) => Array.from({ length: n }, make);
    const some = (most, make) => many(1 + below(most), make).join("");
    const character = ([low, high]) => {
        for (;;) {
            const code = low + below(high - low + 1);
            if (code < 0xd800 || code > 0xdfff)
                return String.fromCodePoint(code);
        }
    };
    const mark = () => String.fromCodePoint(pick([0x300, 0x301, 0x303, 0x308, 0x323, 0x327, 0x345, 0x20d0, 0x5b0, 0x64e, 0x651, 0x93c, 0x94d, 0xe49, 0x3099, 0xfe0f]) );
    const word = () => pick(pick(sentences).split(" "));
    const space = () => pick(spaces);
    const control = () => pick(random() < 0.5 ? own : lookAlikes);
    const number = () => pick([
        () => String(below(10 ** (1 + below(9)))),
        () => (random() * 10 ** below(8)).toFixed(below(6)),
        () => `${below(99)},${100 + below(900)},${100 + below(900)}.${below(99)}`,
        () => `0x${below(2 ** 31).toString(16).toUpperCase()}`,
        () => `${below(24)}:${10 + below(50)} ${1900 + below(200)}-${1 + below(12)}-${1 + below(28)}`,
        () => `+49 ${below(999)} / ${below(99999)}`,
        () => `${below(9)}e-${below(30)}`,
        () => some(8, () => pick([..."٠١٢٣٤٥٦٧٨٩۰۱۲०१२३๑๒๓一二三½⅓²³①Ⅷ𝟘𝟙０９"])),
        () => "1".repeat(1 + below(40)),
    ])();

    const made = [
        ...sentences, ...code, ...emoji, ...lookAlikes, ...spaces,
        ...many(200, () => some(8, () => `${word()}${random() < 0.8 ? " " : space()}`)),
        ...many(120, () => `${pick(sentences)}${space()}${pick(sentences)}`),
        ...many(120, () => { const text = pick(sentences); const at = below(text.length); return text.slice(at, at + 1 + below(40)); }),
        ...many(120, () => { const text = pick(sentences); return random() < 0.5 ? text.toUpperCase() : text.toLowerCase().normalize("NFD"); }),
        ...many(150, () => some(6, () => pick([() => pick(emoji), () => pick(emoji), word, space])())),
        ...many(200, () => { const lines = pick(code).split("\n"); return some(4, () => `${" ".repeat(below(20))}${pick(lines)}${pick(["\n", "\r\n", "\n\n", "", "\t"])}`); }),
        ...many(200, () => `${random() < 0.6 ? word() : ""}${some(12, space)}${random() < 0.6 ? word() : ""}`),
        ...many(100, () => `${pick(["", "x", "."])}${pick([" ", "\t", "\n", "\r\n", "\u00a0", " \n", "\n "]).repeat(1 + below(70))}${pick(["", "x", ".", "1"])}`),
        ...many(180, () => some(4, () => `${number()}${pick(["", " ", "", "a", "%", " km", "\n"])}`)),
        ...many(320, () => some(6, () => pick([control, control, word, space, () => pick(["", "x", " ", "\n"])])())),
        ...many(150, () => some(12, () => `${pick([() => character([0x61, 0x7a]), word, () => character(pick(scripts))])()}${some(4, mark)}`)),
        ...many(250, () => { const script = pick(scripts); return some(24, () => character(script)); }),
        ...many(200, () => some(20, () => character(pick(scripts)))),
        ...many(60, () => some(10, () => pick(["'s", "'S", "’s", "'LL", "'re", "'Ve", "'d", "'m", "'ſ", "'", "''", " 't", "it", "We", "ÉT", "nǅ"]))),
        ...many(60, () => pick(["a", "ab", "é", "漢", "ก", "😀", "-", "=", "Aa", "_", "/", "'s"]).repeat(1 + below(120))),
        ...many(60, () => some(120, () => character([0x61, 0x7a]))),
        ...many(40, () => some(80, () => pick([..."ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="]))),
        ...many(60, () => some(5, () => pick([() => pick(sentences), () => pick(code), number, control, () => pick(emoji), space, () => character(pick(scripts))])())),
        "a".repeat(5000), " ".repeat(3000), "\n".repeat(1000), "ab ".repeat(800), "😀".repeat(300),
    ];
    return [...new Set(made)].filter((text) => text !== "");
}

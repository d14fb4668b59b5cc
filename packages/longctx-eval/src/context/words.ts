/** Word lists for keys and for the word-counting tasks: plain, distinct, lower-case English. */

const adjectiveText = `able agile airy alert amber ample ancient arctic autumn azure balmy basic bland bleak blue blunt bold brave
breezy brief bright brisk broad bronze brown busy calm careful central cheap cheerful chief civil clean clear clever close
cloudy coarse cold common copper coral cosy crimson crisp cubic curious curly daily damp dapper daring dark dear deep delicate
dense distant double dry dull dusty eager early earnest easy elder elegant empty equal even exact faint fair faithful famous
fancy fast fearless final fine firm flat floral fluent foggy fond formal fragile frank free fresh frosty frugal full gentle
giant gifted glad glossy golden good graceful grand grateful green grey handy happy hardy harsh hasty hearty heavy hidden high
hollow honest humble icy ideal idle indigo inner ivory jolly jovial keen kind large late lavish lazy lean light lilac lively
local lonely long loose loud loyal lucid lucky lunar magenta main major marine mellow merry mild minor misty modern modest
moist narrow native neat new nimble noble northern novel oaken odd old olive open orange outer pale patient pearly plain
pleasant polar polite poor prime private prompt proud pure purple quaint quick quiet radiant rapid rare ready real red regal
rich rigid ripe robust rosy rough round royal rural rustic sacred safe salty sandy scarlet secret serene sharp shiny short shy
silent silver simple sleek slim slow small smart smooth snowy sober soft solar solid sonic sour southern spare stable steady
steep stern still strong sturdy subtle sudden sunny swift tall tame teal tender thick thin tidy tight tiny tough tropical true
urban useful vague vast velvet violet vivid vocal warm weak wealthy weary western wet whole wide wild windy winter wise witty
wooden woolly yellow young zesty`;

const nounText = `acorn actor airport album alley almond anchor angle ankle apple apron arch arena arrow artist atlas attic aunt
author avenue badge bagel baker balcony ballad bamboo banana banjo banner barn barrel basin basket beach beacon bead beaver bell
bench berry bicycle birch biscuit blanket blossom boat bonnet book border bottle boulder bowl bracelet branch bread breeze brick
bridge broom brush bucket bugle bulb butter button cabin cable cactus camel camera canal candle canoe canyon cape captain
caravan cargo carpet carrot castle cavern cedar cellar chain chair chalk channel chapel chart cheese cherry chess chimney
circle circus citadel clarinet cliff clinic clock cloud clover coach coast cobbler coconut coin comet compass concert copy
corner cottage cotton council cousin cradle crane crater creek crown crystal cube cup curtain cushion cycle dagger dairy dance
daisy delta desert desk diary dinner dolphin donkey door dove dragon drawer drum duck eagle easel echo elbow ember engine
envelope falcon farm feather fence fern ferry festival fiddle field fig finch fire flag flame flask fleet flower flute forest
fork fortress fossil fountain fox frame furnace gallery garage garden garlic gate gazelle geyser glacier glove goat goblet
goose grape gravel grove guitar hamlet hammer harbour harp harvest hat hawk hazel hedge helmet heron hill hinge honey hook
horizon hornet horse hotel house iceberg inlet island ivy jacket jar jasmine jewel journal judge jungle kettle key kitchen kite
kitten knight knot ladder lagoon lake lamp lantern lark lawn leaf lemon letter library lighthouse lily lion lizard lobster
locket lodge lute magnet mango mantle map maple marble market marsh mask mast meadow medal melon mill mirror mitten monkey moon
moose mosaic moss motor mountain museum mushroom napkin needle nest notebook novel nut oar oasis ocean octave office olive
onion opera orchard orchid organ otter oven owl oyster paddle pagoda palace palm panther paper parade parcel parrot pasture
path peach pear pebble pelican pencil penguin pepper piano picnic pigeon pillar pillow pilot pine pirate planet plateau plaza
plum pocket poem pond poplar port potato prairie prince prism pumpkin puppet puzzle pyramid quarry quartz queen quilt rabbit
radio raft railway rainbow ranch raven reef ribbon ridge ring river road robin rocket rose ruby rug saddle sail salmon sandal
satchel saxophone scarf school shadow sheep shell shelf ship shore shovel shrine sieve sketch slipper smoke snail sofa soldier
spade sparrow spider spire sponge spoon spring squirrel stable stadium staircase star statue stone stove stream street sugar
summit swallow swan sword table tailor tambourine tapestry tavern teacher temple tent theatre thicket thimble thistle thread
throne thunder ticket tiger timber toast torch tortoise tower tractor trail train tray treasure trellis trumpet tulip tunnel
turban turtle valley vase vault vessel villa village vine viola violin volcano waffle wagon wallet walnut walrus waterfall
whale wheat wheel whistle willow window windmill wizard wolf wool workshop wren yacht yard zebra`;

const verbText = `adapt admire adopt advise agree allow amuse answer appear approve argue arrange arrive attach attend avoid
bake balance bathe behave belong borrow bounce breathe build bury calculate carry carve celebrate charge chase cheer choose
climb collect combine compare compete compose confess connect consider cook correct cough count cover crawl create cross cure
decide decorate deliver depend describe design detect develop dig discover divide draw dream drift earn embrace encourage enjoy
enter escape examine excuse exist expand expect explain explore extend fetch finish fix float flow fold follow forgive gather
glance glow grate greet grin grow guard guess guide happen harvest heal hear help hurry imagine improve include inform inspect
invent invite join juggle jump kneel knit know label laugh launch learn lend lift listen measure melt mend migrate mingle
multiply murmur nod notice obey observe offer order pack paint pardon pause peel perform persuade plan plant point polish pour
practise praise prepare press pretend promise protect provide push question reach realise receive recite recognise record
reduce reflect refuse relax remember repair repeat reply rescue rest return reveal ride rinse roll sail scatter search select
send settle sew shake share shelter shine sing sketch smile solve sort spell spend spin splash squeeze stir stretch study
suggest support surprise surround swim teach tempt thank think tie tighten trade transport travel trust try tumble turn type
understand unite unpack visit wait wander warn wash watch wave weave welcome whisper win wish wonder work wrap write`;

const list = (text: string): string[] => [...new Set(text.split(/\s+/))];

export const adjectives: readonly string[] = list(adjectiveText);
export const nouns: readonly string[] = list(nounText);

/** Nouns, adjectives and verbs, each once. */
export const singleWords: readonly string[] = [...new Set([...nouns, ...adjectives, ...list(verbText)])].sort();

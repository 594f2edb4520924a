"""Words that make a recogniser sure of a name, or sure that something is none: short lists, no model.

Given names and surnames are the common ones of some twenty countries; a rare name is left to what stands around it.
"""

from __future__ import annotations

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GIVEN = _words(
    """
    aaron adam adrian ahmed aidan alan albert alberto alejandro aleksandr alex alexander alexandra alexandre alexei
    alexey alfred ali alice alicia allison amanda amber amit amy ana anders andre andrea andreas andrei andrew andrey
    andrzej angela anil anita ann anna anne anthony antoine anton antonio anya arjun arnaud arthur ashley astrid axel
    barbara bartosz beatrice ben benjamin benoit bernard bernd beth bill bjorn bob boris brad brandon brenda brian
    bruce bruno camille carl carla carlo carlos carol caroline catherine cedric charles charlotte chloe chris
    christian christina christine christoph christophe christopher claire clara claudia claudio colin connor craig
    cristina dan daniel daniela daniele darren dave david dean deborah denis dennis derek diana diego dieter dirk
    dmitri dmitry dominik donald doug douglas duncan dylan earl ed eduardo edward edwin elena eli elias elisabeth
    elizabeth ellen emil emily emma enrico eric erica erik ernst esther ethan eugene eva evan evgeny fabian fabio
    fatima felix fernando florian francesca francesco francis francisco francois frank franz fred frederic frederick
    fritz gabriel gary geoff george georg gerald gerard gerd giovanni giulia giuseppe glenn gordon grace graham greg
    gregory guido guillaume gunther gustav guy hannah hans harald harold harry heather heidi heinz helen helena helmut
    henning henri henrik henry herbert hiroshi holger howard hugh hugo ian igor ilya ingrid irene isaac isabel
    isabelle ivan jack jackie jacob jacques jakob jakub james jan jane janet jason javier jay jean jeff jeffrey
    jennifer jens jeremy jerome jerry jessica jesus jill jim joachim joan joao jochen joe joel johan johann johannes
    john jon jonas jonathan jorge jose josef joseph joshua juan judith julia julian julie julien jurgen justin kai
    karen karl karsten kate katherine kathleen kathryn katie keith kelly ken kenji kenneth kenta kevin kim kirk klaus
    konrad konstantin kristian kristin kumar kurt kyle lars laura lauren laurent lawrence lea lee leo leon leonardo
    leslie liam linda linus lisa lorenzo louis louise luc luca lucas lucia luis lukas luke magnus manuel marc marcel
    marcelo marcin marco marcus margaret maria marie mario marion marius mark markus marta martha martin martina mary
    masahiro mateusz mathias mathieu mathilde matt matteo matthew matthias maurice max maxim maxime megan mehmet
    melanie melissa mia michael michal michel michele michelle miguel mikael mike mikhail milan mohamed mohammad
    mohammed monica monika morten muhammad nadia nancy natalia natalie natasha nathan neil nicholas nick nicola
    nicolas nicole niels nikita nikolai nils nina noah nora norbert olaf ole oleg olga oliver olivier omar oscar osman
    otto owen pablo paolo pascal patricia patrick paul paula paulo pavel pedro per peter petr petra phil philip
    philipp philippe pierre piotr rachel rafael rahul rainer raj rajesh ralf ralph ramesh randy raphael raul ravi ray
    raymond rebecca reinhard rene ricardo richard rick rob robert roberto robin rodrigo roger roland rolf roman ron
    ronald rosa ross roy rudolf russell ruth ryan sabine sally sam samantha samuel sandra sanjay sara sarah satoshi
    scott sean sebastian sergei sergey sergio shane shannon sharon shawn simon simone sofia sofie sonia sophia sophie
    stan stefan stefano stephan stephane stephanie stephen steve steven stuart sue sunil susan suresh susanne suzanne
    sven sylvia takashi tamara tanya tatiana ted teresa terry theo theodore theresa thiago thierry thomas thorsten tim
    timo timothy tina tobias todd tom tomas tomasz tommy toni tony torsten tracy travis trevor tyler udo ulrich ulrike
    ursula uwe valentin valerie vanessa vera veronica vicky victor victoria vijay vikram viktor vincent vincenzo
    virginia vishal vitaly vladimir walter wayne werner wilhelm will william willy wojciech wolfgang xavier yann
    yannick yasmin yuki yulia yuri yves zachary zoe
    """
)
SURNAMES = _words(
    """
    adams ahmad alvarez anderson andersson bailey baker becker bennett bernard brown campbell carter castro clark
    collins cooper costa cruz davies davis diaz doe dubois dupont durand eriksson evans fernandez ferrari fischer
    foster garcia gomez gonzalez gupta gutierrez hall hansen harris hernandez hoffmann hughes ivanov jackson jansen
    jansson jenkins jensen johansson johnson jones kaiser khan klein kowalski kumar larsen larsson lehmann lewis lopez
    marino martin martinez meyer miller mitchell moore morales moreau morgan morris mueller murphy muller nakamura
    nelson nguyen nielsen nilsson novak olsen olsson ortiz parker patel perez petersen peterson petrov phillips popov
    ramirez reyes richter rivera roberts robinson rodriguez rogers romano rossi ruiz russo sanchez santos sato
    schaefer schmid schmidt schmitt schneider schroeder schulz schwarz sharma silva simpson singh smirnov smith
    sorensen stewart suzuki svensson tanaka taylor thompson torres turner vasquez wagner walker watanabe watson weber
    werner williams wilson wright yamamoto zimmermann
    """
)
# An organisation, a team, a thing: a name with one of these is nobody's.
NOT_A_PERSON = _words(
    """
    ab academy ag agency ai alliance analytics api app apps architecture associates association authority authors
    automation backend bank bot build builder bv bureau center centre christmas client cloud co code college committee
    committers community company compiler computing consortium consulting contributors core corp corporation council
    created creative daemon data database day department dept design developers development devops digital division
    driver eclipse editor embedded enterprise enterprises engine engineering factory file finance foundation framework
    free frontend games generated generator global gmbh gnu google government group hat holding holdings holland ide
    idea inc incorporated industries info information infrastructure initiative initializr institute insurance
    integration intelligence intellij interactive international internet islands it job journal kernel kg lab
    laboratories laboratory labs language learning library licence license licensed limited llc llp logic logistics
    ltd machine mail mailing maintainers management manager marketing media medical microsoft ministry mobile networks
    network nightly none online open operations oracle organization os other others owner owners parser partners
    payments people platform plc plugin press process product products program project public publishing quality
    raiders red release reliability research research reserved retail rights robotics sa scheduler school science
    sciences script sdk secret security see server service services shop site software solutions source spa staff
    standards storage store street studio studios support system systems script team technologies technology telecom
    test tester testing the toolkit tools trust unit university unknown user users universidad universitat universite
    hochschule fakultat institut ministerium stadt deutsche verein stiftung banque societe various ventures version
    web wizard works workshop xcode your
    """
)
# Companies whose names look like a person's.
COMPANIES = frozenset(
    (
        *(
            "morgan stanley",
            "wells fargo",
            "jane street",
            "johnson controls",
            "charles schwab",
            "eli lilly",
            "goldman sachs",
        ),
        *("thomson reuters", "harley davidson", "calvin klein", "ralph lauren", "hugo boss", "mary kay", "booz allen"),
        *(
            "hewlett packard",
            "rolls royce",
            "hugging face",
            "palo alto",
            "merrill lynch",
            "ernst young",
            "louis vuitton",
        ),
        *("mercedes benz", "morgan chase", "jack wolfskin", "daniel wellington", "fritz hansen", "karl mayer"),
    )
)
# What follows a name without a full stop between.
AFTER_A_NAME = _words(
    """
    all and any at for from licensed mit on permission released the this under version with
    """
)
PINYIN_SURNAMES = _words(
    """
    bai cai cao chang chen cheng cui dai deng ding dong du duan fan fang feng fu gao gong gu guo han hao he hou hu
    huang jia jiang jin kang kong lai lei li liang liao lin liu long lu luo lv ma mao meng mo niu pan peng qian qiao
    qin qiu ren shao shen shi song su sun tan tang tao tian wan wang wei wen wu xia xiao xie xiong xu xue yan yang yao
    ye yin yu yuan zeng zhang zhao zheng zhong zhou zhu zou
    """
)
_FINAL = "iang|iong|uang|ang|eng|ing|ong|ian|iao|uai|uan|ai|an|ao|ei|en|er|ia|ie|in|iu|ou|ua|ue|ui|un|uo|a|e|i|o|u|v"
SYLLABLE = rf"(?:(?:zh|ch|sh|[bpmfdtnlgkhjqxrzcsyw])(?:{_FINAL})|ang|ai|an|ao|en|er)"
PINYIN_GIVEN = re.compile(rf"{SYLLABLE}(?:[-']?{SYLLABLE})?")
# Longer surnames only: `machine` and `line` are no people.
PINYIN_LOGIN = re.compile(
    rf"(?:{'|'.join(sorted(name for name in PINYIN_SURNAMES - {'chang', 'long'} if len(name) > 3))}){SYLLABLE}{{1,2}}"
)
HAN = "\u4e00-\u9fff"
HAN_SURNAMES = (
    "于王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖萧田董袁潘蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范廖石金"
    "韦贾夏付傅方白邹孟熊秦邱江尹薛闫阎段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤温康施洪倪尤岳梅庄辛管祝左涂谷祁时舒耿牟卜詹"
    "关苗凌费纪靳盛童欧甄项曲翟骆单喻柯鲍庞樊殷邢颜"
)
HAN_COMPOUND = "欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|夏侯|令狐|宇文|长孙"
# The last sign of a team, an office or a trade, and words that stand in for a name.
HAN_NOT_LAST = frozenset("组部队司心所院统台室处员者师网局会站团厅行社店厂校系人们等码器库表名型类式例点义本件")
HAN_STAND_INS = frozenset(
    ("管理", "史上", "时间", "方法", "项目", "方案", "单位", "高级", "向量", "关于", "关闭", "任务", "钱包")
)


def is_pinyin(words: list[str]) -> bool:
    """Whether two words are a Chinese name in Latin letters, either part first."""
    if len(words) != 2:
        return False
    first, last = (word.lower() for word in words)
    return any(
        surname in PINYIN_SURNAMES and PINYIN_GIVEN.fullmatch(given) is not None
        for surname, given in ((first, last), (last, first))
    )
